"""FAS: speech emotion recognition with separate acoustic and semantic pathways."""

__version__ = "0.1.0"
