"""`python -m eval.suite` in a checkout, `python -m fas_eval.suite` where it is installed, is the command `fas eval`."""

from fas_core.cli.app import run
from fas_eval.suite.cli import NAME, app

if __name__ == "__main__":
    run(app, NAME)
