"""`python -m fas_core.data` is the command `fas data`: `check DIR`, and `list DIR --corpus NAME`."""

import logging

from fas_core.cli.app import run
from fas_core.cli.data import app

if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    run(app, "python -m fas_core.data")
