"""Training of the adapter: projector, LoRA, and FAS where asked for."""
