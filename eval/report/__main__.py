"""Make a report again from what an evaluation left: `python -m eval.report DIR`. Exit code 2 where there is none."""

import argparse
import sys

from fas_core.errors import reports_errors
from fas_eval.report.build import build_report


@reports_errors
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.report", description=__doc__)
    parser.add_argument("folder", help="output of python -m eval.suite: results.json, answers.csv, clips.jsonl")
    parser.add_argument(
        "--audio",
        action=argparse.BooleanOptionalAction,
        help="copy the audio of shown clips next to their pages (default: only synthetic speech)",
    )
    parser.add_argument("--clip-pages", type=int, default=40, metavar="N", help="clips with a page, a benchmark (40)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    options = parser.parse_args(arguments)
    print(build_report(options.folder, options.audio, options.clip_pages, not options.quiet))
    return 0


if __name__ == "__main__":
    sys.exit(main())
