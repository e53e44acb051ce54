"""`python -m fas_core.synth OUT --clips N --seed S`: render the synthetic conflict corpus."""

import argparse
import sys

from fas_core.errors import reports_errors
from fas_core.synth.corpus import render_corpus


@reports_errors
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m fas_core.synth", description=render_corpus.__doc__.split("\n")[0])
    parser.add_argument("out", help="folder to write; new, empty, or an earlier synthetic corpus")
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--conflict-share", type=float, default=0.5, help="share of conflicting clips")
    parser.add_argument(
        "--train-conflict-share",
        type=float,
        help="another share for the train split; 6/7 makes tone and words independent",
    )
    options = vars(parser.parse_args(arguments))
    print(render_corpus(options.pop("out"), **options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
