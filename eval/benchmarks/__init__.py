"""What systems are scored on: declared benchmarks, where they lie, and their clips."""
