"""Command lines: the door `fas`, what all commands have in common, and options that come from dataclasses.

Nothing is imported here, and no module of this package imports torch, transformers or datasets at its top: `--help` is quick.
"""
