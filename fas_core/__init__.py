"""FAS: speech emotion recognition with separate acoustic and semantic pathways."""

import importlib

__version__ = "0.1.0"

# Loaded on first use, so that `import fas_core` and `fas --help` do not wait for torch.
_PUBLIC = {
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


def __getattr__(name: str):
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'fas_core' has no attribute {name!r}")
