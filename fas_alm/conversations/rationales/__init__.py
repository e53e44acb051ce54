"""Explicit chain of thought: what is measured of a voice, told in words, and the emotion that follows (C2SER, Zhao et al. 2025)."""
