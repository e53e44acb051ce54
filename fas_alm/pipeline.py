"""transformers' pipeline for conversations with audio, without the packages that it asks for and this model does not need."""

from __future__ import annotations

from typing import Any

from transformers import AnyToAnyPipeline


class AudioTextToTextPipeline(AnyToAnyPipeline):
    """The task "any-to-any" for FAS-ALM: `pipeline("any-to-any", model=DIR, pipeline_class=AudioTextToTextPipeline)`.

    transformers' own class asks for librosa before it looks at the model; the processor of FAS-ALM reads audio itself.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super(AnyToAnyPipeline, self).__init__(*args, **kwargs)
