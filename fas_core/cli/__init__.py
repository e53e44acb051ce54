"""Command lines: the door `fas`, what all commands have in common, and options that come from dataclasses.

No module of this package imports torch, transformers or datasets at its top: `--help` is quick.
"""


def main() -> None:
    """Entry point of the command `fas`."""
    from fas_core.cli.door import main

    main()
