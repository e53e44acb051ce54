"""The commands `fas features extract`, which fills a feature cache, and `verify`, which looks for damage in one."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fas_core.cli.app import App
from fas_core.errors import INPUT_ERRORS, FASError, error_line
from fas_core.model_files import read_object
from fas_core.sources import find_audio_files
from fas_core.training.arguments import parse_pairs
from fas_core.yaml_files import read_yaml

app = App(help="Fill a feature cache, or look for damage in one.")

Root = Annotated[Path, typer.Option("--cache", help="Root of the caches.")]


@app.command()
def extract(
    cache: Root,
    corpora: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FOLDER...", help="Corpora; any other NAME for a folder with a manifest."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of any audio files, or of one corpus with --corpus.")
    ] = None,
    corpus: Annotated[str | None, typer.Option(help="Name of the corpus in --data.")] = None,
    exclude_labels: Annotated[
        list[str] | None, typer.Option(help="Leave out clips of this label; * for all unknown ones.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML of a StreamConfig, instead of the flags.")] = None,
    model: Annotated[str, typer.Option(help="Whisper: hub id, directory or offline:NAME.")] = "offline:tiny.en",
    acoustic_layer: Annotated[str, typer.Option(help="1 to L, or last.")] = "2",
    semantic_layer: Annotated[str, typer.Option(help="1 to L, or last.")] = "last",
    padding: Annotated[str, typer.Option(help="clip (real frames only) or 30s.")] = "clip",
    soundstream: Annotated[Path | None, typer.Option(help="Its .tflite, as the acoustic stream.")] = None,
    augmentation: Annotated[list[str] | None, typer.Option(help="Also this variant, such as speed:0.9.")] = None,
    device: Annotated[str | None, typer.Option(help="torch device.")] = None,
) -> None:
    """Extract the features of a corpus; what is there already is kept, damaged shards are built again.

    Prints a report in JSON per variant. Several processes share the work.

    Examples:

      fas features extract --corpora ravdess=data/ravdess tess=data/tess --cache features

      fas features extract --data recordings --cache features --augmentation speed:0.9 noise:15

      torchrun --nproc_per_node 2 -m fas_core features extract --corpora ravdess=data/ravdess --cache features

    Exit code: 0, also when some files are bad (they are listed); 2 when a corpus or the configuration cannot be used.
    """
    from fas_core.encoders import FeatureExtractor, StreamConfig
    from fas_core.features.cache import FeatureCache
    from fas_core.features.extract import extract_features, process_from_environment

    sources = _sources(corpora or [], corpus, data)
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
    for named in sources:
        for variant in [None, *(augmentation or [])]:
            report = extract_features(
                _rows(*named, exclude_labels or []),
                extractor,
                features,
                augmentation=variant,
                process_index=index,
                num_processes=number,
            )
            typer.echo(json.dumps({"process": index, "augmentation": variant, **report.to_dict()}))


@app.command()
def verify(cache: Root) -> None:
    """Read every byte of every cache below the root and name the damaged shards.

    Example:

      fas features verify --cache features

    Exit code: 0; 1 where a shard is damaged.
    """
    from fas_core.features.cache import FeatureCache

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


def _sources(corpora: list[str], corpus: str | None, data: Path | None) -> list[tuple[str | None, Path]]:
    """Names, or None for any audio, and folders."""
    named: list[tuple[str | None, Path]] = [*parse_pairs(corpora, "--corpora")]
    if data is not None:
        named.append((corpus, data))
    if not named or (corpus is not None and data is None):
        raise FASError("no corpus: expected --corpora NAME=FOLDER, or --data FOLDER with or without --corpus NAME")
    return named


def _layer(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdigit() else text


def _rows(corpus: str | None, data: Path, exclude_labels: list[str]) -> list[dict] | object:
    if corpus is None:
        return [{"audio": path} for path in find_audio_files(data)]
    from fas_core.data import load_corpus

    return load_corpus(corpus, data, exclude_labels=exclude_labels)
