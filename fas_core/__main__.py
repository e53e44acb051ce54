"""`python -m fas_core` is the command `fas`, for `accelerate launch -m fas_core train ...` and where no script is on the path."""

from fas_core.cli.door import main

if __name__ == "__main__":
    main()
