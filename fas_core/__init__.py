"""FAS: speech emotion recognition with separate acoustic and semantic pathways.

transformers' Auto classes and pipelines know FAS where transformers was imported before, or after the first of the names below that
needs it, or `import fas_core.auto`: the package itself does not import transformers, which takes seconds.
"""

import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what type checkers and editors see; a test compares it with `_PUBLIC`
    from fas_core.answers import Answer as Answer
    from fas_core.answers import answers_to_frame as answers_to_frame
    from fas_core.audio import AudioLimits as AudioLimits
    from fas_core.audio import load_audio as load_audio
    from fas_core.configuration_fas import FASConfig as FASConfig
    from fas_core.data import load_corpus as load_corpus
    from fas_core.encoders.extractor import FeatureExtractor as FeatureExtractor
    from fas_core.encoders.extractor import StreamConfig as StreamConfig
    from fas_core.labels import EMOTIONS as EMOTIONS
    from fas_core.modeling_fas import FASForEmotionClassification as FASForEmotionClassification
    from fas_core.modeling_fas import FASModel as FASModel
    from fas_core.pipeline import EmotionPipeline as EmotionPipeline

__version__ = "0.1.0"

# Loaded on first use, so that `import fas_core` and `fas --help` do not wait for torch.
_PUBLIC = {
    "Answer": "fas_core.answers",
    "answers_to_frame": "fas_core.answers",
    "EmotionPipeline": "fas_core.pipeline",
    "FASConfig": "fas_core.configuration_fas",
    "FASModel": "fas_core.modeling_fas",
    "FASForEmotionClassification": "fas_core.modeling_fas",
    "FeatureExtractor": "fas_core.encoders.extractor",
    "StreamConfig": "fas_core.encoders.extractor",
    "AudioLimits": "fas_core.audio",
    "load_audio": "fas_core.audio",
    "load_corpus": "fas_core.data",
    "EMOTIONS": "fas_core.labels",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
        _register()
        return value
    raise AttributeError(f"module 'fas_core' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})


def _register() -> None:
    """Make transformers' Auto classes know FAS, where transformers is here."""
    if "transformers" in sys.modules:
        importlib.import_module("fas_core.auto")


_register()
