"""`python -m eval.suite` in a checkout, `python -m fas_eval.suite` where it is installed."""

from fas_eval.suite.cli import end, main

if __name__ == "__main__":
    end(main())
