"""`python -m eval.study`."""

import sys

from eval.study.run import main

if __name__ == "__main__":
    sys.exit(main())
