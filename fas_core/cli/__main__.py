"""`python -m fas_core.cli` is the command `fas`, as `python -m fas_core` is."""

from fas_core.cli.door import main

if __name__ == "__main__":
    main()
