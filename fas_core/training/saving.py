"""A trained checkpoint on disk: the model, what its features are, how it was trained."""

import os
import shutil
from pathlib import Path

from fas_core.atomic import write_json
from fas_core.encoders.extractor import FeatureExtractor
from fas_core.feature_extraction_fas import FASFeatureExtractor
from fas_core.modeling_fas import FASForEmotionClassification
from fas_core.training.card import model_card

ADAPTER = "acoustic_adapter.safetensors"  # of a checkpoint whose acoustic encoder is adapted


def save_checkpoint(
    model: FASForEmotionClassification, extractor: FeatureExtractor, output: Path, result: dict
) -> None:
    """The model, what its features are, and how it was trained.

    Files appear whole, and `config.json`, without which the pipeline refuses, goes first and comes last: a new model never
    meets the settings of an older one.
    """
    temporary = output / ".checkpoint-tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    keep_adapter(model.config.streams, temporary)
    model.save_pretrained(temporary)
    FASFeatureExtractor.of(model.config, temporary).save_pretrained(temporary)
    write_json(temporary / "streams.json", extractor.identity())
    write_json(temporary / "training.json", result)
    (temporary / "README.md").write_text(model_card(result), encoding="utf-8")
    (output / "config.json").unlink(missing_ok=True)
    for file in sorted(temporary.iterdir(), key=lambda file: file.name == "config.json"):
        os.replace(file, output / file.name)
    temporary.rmdir()


def keep_adapter(streams: dict | None, folder: Path) -> None:
    """Copy the acoustic encoder's adapter into the checkpoint, whose configuration then names that copy."""
    acoustic = (streams or {}).get("acoustic", {})
    if acoustic.get("adapter") is not None:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(acoustic["adapter"], folder / ADAPTER)
        acoustic["adapter"] = ADAPTER
