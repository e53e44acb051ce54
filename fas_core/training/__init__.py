"""Training of FAS on pre-computed features."""
