"""Comparisons of systems on benchmarks: the command, a run, answers asked and stored, and their scores."""
