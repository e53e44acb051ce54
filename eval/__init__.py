"""The evaluation suite: benchmarks, systems, statistics and report; installed it is `fas_eval`."""
