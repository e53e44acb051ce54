"""The words of a clip: a transcript from Whisper's decoder, and what a text model reads in it.

Nothing is imported here: `fas_core.words.types` must be cheap for those who only hold answers.
"""
