"""Figures with intervals, paired tests and their correction (docs/statistics.md)."""
