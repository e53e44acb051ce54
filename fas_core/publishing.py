"""A checkpoint written by an `EmotionPipeline`, on this machine and on a hub."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fas_core.atomic import write_json
from fas_core.checkpoint import RECORD
from fas_core.errors import FASError
from fas_core.feature_extraction_fas import STREAMS, FASFeatureExtractor
from fas_core.paths import exists

if TYPE_CHECKING:
    from fas_core.pipeline import EmotionPipeline

CARD = "README.md"


def save(pipeline: EmotionPipeline, directory: str | Path) -> Path:
    """Write what `from_pretrained` reads, for this package and for transformers' Auto classes; gives the directory.

    The card is that of the checkpoint which the pipeline was loaded from, where it has one.
    """
    folder, source = Path(directory), pipeline.directory
    folder.mkdir(parents=True, exist_ok=True)
    pipeline.model.save_pretrained(folder)
    FASFeatureExtractor.of(pipeline.model.config, source).save_pretrained(folder)
    write_json(folder / "streams.json", pipeline.extractor.identity())
    if pipeline.training:
        write_json(folder / RECORD, pipeline.training)
    if source is not None and (source / CARD).is_file() and source.resolve() != folder.resolve():
        shutil.copyfile(source / CARD, folder / CARD)
    return folder


def push(pipeline: EmotionPipeline, repo_id: str, **options: Any) -> str:
    """Create the repository where it is not there, and commit what `save` writes; gives the address of the commit.

    Args:
        repo_id: "org/name".
        options: `private`, `token`, `revision`, `commit_message`, `create_pr`, as of `HfApi`.

    Raises:
        FASError: an encoder that is named by a path of this machine, where nobody else would find it.
    """
    for stream in STREAMS:
        name = (pipeline.model.config.streams or {}).get(stream, {}).get("model")
        if isinstance(name, str) and exists(name):
            raise FASError(
                f"{repo_id}: streams.{stream}.model is {name!r}, a path of this machine; expected a hub id or offline:NAME, as "
                "train/fas.py --encoder takes it"
            )
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(token=options.pop("token", None))
    api.create_repo(repo_id, private=options.pop("private", None), exist_ok=True)
    options = {"commit_message": "Upload a FAS checkpoint"} | options
    with tempfile.TemporaryDirectory() as folder:
        save(pipeline, folder)
        files = sorted(file for file in Path(folder).rglob("*") if file.is_file())
        operations = [CommitOperationAdd(str(file.relative_to(folder)), str(file)) for file in files]
        return str(api.create_commit(repo_id, operations, **options).commit_url)
