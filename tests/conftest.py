"""What holds for all tests: the same numbers on every machine."""

import os

os.environ["FAS_BF16"] = "0"  # float32 where a processor would choose; `test_precision` tests the choice itself
