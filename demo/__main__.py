"""`python -m demo` is the command `fas demo`: from rendered speech to a report, in a few minutes."""

import sys

from fas_core.cli.app import runner
from fas_core.cli.demo import app

main = runner(app, "python -m demo")

if __name__ == "__main__":
    sys.exit(main())
