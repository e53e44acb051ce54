"""A synthetic checkpoint for tests: a FAS of random weights on the tiny Whisper of `synthetic.py`."""

from pathlib import Path

import torch
from synthetic import noise

from fas_core.configuration_fas import FASConfig
from fas_core.encoders.extractor import FeatureExtractor, StreamConfig
from fas_core.modeling_fas import FASForEmotionClassification
from fas_core.standardisation import feature_statistics


def save_tiny_checkpoint(path: Path, whisper: Path, **overrides) -> Path:
    """A checkpoint whose encoders are layers 1 and last of the Whisper in that folder."""
    streams = StreamConfig.whisper(str(whisper), acoustic_layer=1).to_dict()
    extractor = FeatureExtractor.from_config(streams, device="cpu")
    settings = dict(
        acoustic_dim=extractor.acoustic.dimension, semantic_dim=extractor.semantic.dimension, hidden_size=16, intermediate_size=16, num_attention_heads=4,
        k_acoustic=4, k_semantic=6, standardise=True, streams=streams, streams_identity=extractor.digest,
        temperature=0.5, acoustic_temperature=0.7, semantic_temperature=1.4,
    )  # fmt: skip
    torch.manual_seed(0)
    model = FASForEmotionClassification(FASConfig(**settings | overrides))
    if model.config.standardise:
        clips = extractor([noise(1.0 + seed / 4, seed) for seed in range(6)])
        model.set_feature_statistics(
            {s: feature_statistics(getattr(c, s) for c in clips) for s in ("acoustic", "semantic")}
        )
    model.save_pretrained(path)
    return path
