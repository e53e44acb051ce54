"""`python -m fas_core.features extract` fills a feature cache, `verify` looks for damage in one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from fas_core.encoders import FeatureExtractor, StreamConfig
from fas_core.errors import INPUT_ERRORS, error_line
from fas_core.features.cache import FeatureCache
from fas_core.features.extract import extract_features, process_from_environment
from fas_core.model_files import read_object
from fas_core.sources import find_audio_files
from fas_core.yaml_files import read_yaml

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)

Root = Annotated[Path, typer.Option("--cache", help="Root of the caches.")]


@app.command()
def extract(
    data: Annotated[Path, typer.Option(help="Folder of the corpus.")],
    cache: Root,
    corpus: Annotated[
        str | None,
        typer.Option(
            help="Name of the corpus, or a name of your own for a folder with a manifest. Without: any audio file."
        ),
    ] = None,
    exclude_labels: Annotated[
        list[str] | None, typer.Option(help="Leave out clips of this label; * for all unknown ones; repeatable.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML of a StreamConfig, instead of the flags.")] = None,
    model: Annotated[str, typer.Option(help="Whisper: hub id, directory or offline:NAME.")] = "offline:tiny.en",
    acoustic_layer: Annotated[str, typer.Option(help="1 to L, or last.")] = "2",
    semantic_layer: Annotated[str, typer.Option(help="1 to L, or last.")] = "last",
    padding: Annotated[str, typer.Option(help="clip (real frames only) or 30s.")] = "clip",
    soundstream: Annotated[Path | None, typer.Option(help="Its .tflite, as the acoustic stream.")] = None,
    augmentation: Annotated[
        list[str] | None, typer.Option(help="Also this variant, such as speed:0.9; repeatable.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="torch device.")] = None,
) -> None:
    """Extract the features of a corpus; what is there already is kept, damaged shards are built again.

    Prints a report in JSON per variant. The exit code is 0, also when some files are bad (they are listed),
    and 2 when DATA or the configuration cannot be used. Several processes share the work:

    torchrun --nproc_per_node 2 -m fas_core.features extract --corpus ravdess --data DIR --cache DIR
    """
    try:
        streams = StreamConfig.whisper(
            model,
            acoustic_layer=_layer(acoustic_layer),
            semantic_layer=_layer(semantic_layer),
            padding=padding,
        )
        if config:
            streams = StreamConfig.from_dict(read_yaml(config, "a YAML file of a StreamConfig"))
        if soundstream:
            streams.acoustic = {"type": "soundstream", "model": str(soundstream)}
        extractor = FeatureExtractor.from_config(streams, device)
        features = FeatureCache(cache, extractor.identity())
        index, number = process_from_environment()
        for variant in [None, *(augmentation or [])]:
            report = extract_features(
                _rows(corpus, data, exclude_labels or []),
                extractor,
                features,
                augmentation=variant,
                process_index=index,
                num_processes=number,
            )
            typer.echo(json.dumps({"process": index, "augmentation": variant, **report.to_dict()}))
    except INPUT_ERRORS as error:
        typer.echo(f"error: {error_line(error)}", err=True)
        raise typer.Exit(2) from None


@app.command()
def verify(cache: Root) -> None:
    """Read every byte of every cache below the root and name the damaged shards; the exit code is then 1."""
    is_damaged = False
    for path in sorted(cache.glob("*/identity.json")):
        try:
            found = FeatureCache(cache, read_object(path))
            names = found.verify()
        except INPUT_ERRORS as error:  # the others are verified
            typer.echo(f"error: {error_line(error)}", err=True)
            is_damaged = True
            continue
        is_damaged |= bool(names)
        typer.echo(f"{path.parent.name}: {len(found)} clips, damaged shards: {', '.join(names) or 'none'}")
    raise typer.Exit(int(is_damaged))


def _layer(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdigit() else text


def _rows(corpus: str | None, data: Path, exclude_labels: list[str]) -> list[dict] | object:
    if corpus is None:
        return [{"audio": path} for path in find_audio_files(data)]
    from fas_core.data import load_corpus

    return load_corpus(corpus, data, exclude_labels=exclude_labels)


if __name__ == "__main__":
    app()
