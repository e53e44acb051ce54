"""`python -m demo --output demo_out`: from rendered speech to a report, in a few minutes."""

import argparse
import sys
from pathlib import Path

from fas_core.errors import reports_errors

CLIPS, EPOCHS = 2400, 20  # under four minutes on two cores


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m demo", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo_out"), help="folder to write (%(default)s)")
    parser.add_argument("--clips", type=int, default=CLIPS, help="of the synthetic corpus (%(default)s)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of training (%(default)s)")
    parser.add_argument("--seed", type=int, default=42, help="of all that is random (%(default)s)")
    return parser.parse_args(argv)


@reports_errors
def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    from demo.stages import run_demo  # here, so that --help does not load torch

    run_demo(**vars(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
