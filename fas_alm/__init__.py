"""FAS-ALM: chat about emotion in speech. An LLM that hears through FAS.

Importing the package registers the model with transformers' Auto classes.
"""

import importlib
from typing import TYPE_CHECKING

from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMultimodalLM, AutoProcessor

from fas_alm.configuration import FASAudioConfig as FASAudioConfig

if TYPE_CHECKING:  # what type checkers and editors see; a test compares it with `_PUBLIC`
    from fas_alm.artifacts import load_adapter as load_adapter
    from fas_alm.artifacts import load_emotion_pipeline as load_emotion_pipeline
    from fas_alm.artifacts import save_adapter as save_adapter
    from fas_alm.export import export_model as export_model
    from fas_alm.language_models import load_language_model as load_language_model
    from fas_alm.modeling import FASAudioForConditionalGeneration as FASAudioForConditionalGeneration
    from fas_alm.pipeline import AudioTextToTextPipeline as AudioTextToTextPipeline
    from fas_alm.processing import FASAudioProcessor as FASAudioProcessor

# Loaded on first use, so that a process that needs the configuration only does not wait for the model.
_PUBLIC = {
    "FASAudioProcessor": "fas_alm.processing",
    "FASAudioForConditionalGeneration": "fas_alm.modeling",
    "AudioTextToTextPipeline": "fas_alm.pipeline",
    "load_language_model": "fas_alm.language_models",
    "save_adapter": "fas_alm.artifacts",
    "load_adapter": "fas_alm.artifacts",
    "export_model": "fas_alm.export",
    "load_emotion_pipeline": "fas_alm.artifacts",
}
__all__ = ["FASAudioConfig", *_PUBLIC]


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'fas_alm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})


def register() -> None:
    """Make transformers' Auto classes know the model; any number of times."""
    from fas_alm.modeling import FASAudioForConditionalGeneration
    from fas_alm.processing import FASAudioProcessor

    AutoConfig.register(FASAudioConfig.model_type, FASAudioConfig, exist_ok=True)
    AutoProcessor.register(FASAudioConfig, FASAudioProcessor, exist_ok=True)
    for auto in (AutoModelForCausalLM, AutoModelForMultimodalLM):
        auto.register(FASAudioConfig, FASAudioForConditionalGeneration, exist_ok=True)


register()
