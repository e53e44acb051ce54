"""The experiments of docs/results.md: `run` compares the ablations of FAS, `adapter` the ALM, `selection` the kept tokens."""
