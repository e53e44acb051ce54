"""`python -m fas_core.features` is the command `fas features`: `extract` fills a feature cache, `verify` looks for damage in one."""

from fas_core.cli.app import run
from fas_core.cli.features import app

if __name__ == "__main__":
    run(app, "python -m fas_core.features")
