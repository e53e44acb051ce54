"""Benchmarks by name: which corpus, where it lies, and which of its clips a checkpoint may be scored on."""

import hashlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from datasets import Dataset
from tqdm import tqdm

from fas_core.audio import audio_digest
from fas_core.data import CORPORA, read_corpus
from fas_core.errors import CorpusError, FASError


@dataclass(frozen=True)
class Benchmark:
    """A corpus to score on.

    Attributes:
        name: as given to `--benchmarks`.
        corpus: reader in `fas_core.data.CORPORA`.
        published: the dataset's name in `published_results.csv`; empty where the papers report nothing.
        own_test_side: the corpus comes with its test clips, and those are the benchmark for everyone.
            Otherwise a checkpoint that never saw the corpus is scored on all of it.
    """

    name: str
    corpus: str
    published: str = ""
    own_test_side: bool = False


BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark("ravdess", "ravdess", "RAVDESS"),
        Benchmark("emodb", "emodb", "EmoDB"),
        Benchmark("urdu", "urdu"),
        Benchmark("tess", "tess", "TESS"),
        Benchmark("case", "case", "CASE"),
        Benchmark("emo-emilia", "emo-emilia", "Emo-Emilia"),
        Benchmark("emovo", "emovo", "EMOVO"),
        Benchmark("esd", "esd", "ESD", own_test_side=True),
        Benchmark("meld", "meld", "MELD", own_test_side=True),
        Benchmark("iemocap", "iemocap", "IEMOCAP"),
        Benchmark("crema-d", "crema-d", "CREMA-D"),
        Benchmark("savee", "savee"),
        Benchmark("synthetic-conflict", "manifest", own_test_side=True),
    )
}
_MANIFEST = "manifest:"


@dataclass(frozen=True)
class DataLocations:
    """`root` holds one folder a benchmark; `overrides`, benchmark -> folder, those that lie elsewhere."""

    root: Path | None = None
    overrides: dict[str, Path] = field(default_factory=dict)

    def find(self, name: str) -> Path:
        """Folder of a benchmark (or of a manifest's table).

        Raises:
            CorpusError: nothing there; names the folder and the options that set it.
        """
        if name.startswith(_MANIFEST):
            place, option = Path(name.removeprefix(_MANIFEST)), "--benchmarks manifest:PATH"
        elif name in self.overrides:
            place, option = Path(self.overrides[name]), f"--data {name}=DIR"
        elif self.root is not None:
            place = Path(self.root) / name
            option = f"--data {name}=DIR, or --data-root DIR with DIR/{name}"
        else:
            raise CorpusError(f"{name}: nobody says where it lies; give --data-root DIR or --data {name}=DIR")
        if not place.expanduser().exists():
            raise CorpusError(f"{name}: {place} does not exist; its place is set with {option}")
        return place.expanduser()


@dataclass(frozen=True)
class LoadedBenchmark:
    """The clips to score on, and how they were chosen.

    Attributes:
        dataset: columns of `fas_core.data.COLUMNS`. corpus_clips: clips of the corpus on all sides.
        side: "test", or "all" of a corpus that was never trained on.
        setting: "in-domain" where the checkpoint was trained on other clips of this corpus, else "zero-shot".
        fold: of a corpus with folds, where `side` is "test".
        excluded: why -> clips that have no place among the seven emotions or cannot be used.
    """

    benchmark: Benchmark
    dataset: Dataset
    corpus_clips: int
    side: str
    setting: str
    fold: int | None
    excluded: Counter


def load_benchmark(
    name: str,
    locations: DataLocations,
    *,
    training_corpora: Collection[str] = (),
    trained_fold: int | None = None,
    fold: int | None = None,
) -> LoadedBenchmark:
    """Read a benchmark and keep the clips that a checkpoint may be scored on.

    A corpus that the checkpoint was trained on, one with a test side of its own, and any corpus for which
    `fold` is given is scored on its "test" side; any other corpus as a whole.

    Args:
        name: a key of `BENCHMARKS`, or "manifest:PATH" with the path of a table or its folder.
        locations: where the corpora lie.
        training_corpora: corpora that the checkpoint was trained on. trained_fold: and the fold, where it
            had one.
        fold: the fold to score on; that of the checkpoint where None.

    Raises:
        CorpusError: unknown name, nothing at its place, a fold whose test speakers were trained on, no fold
            where one is needed, or no test clips.
    """
    benchmark = _benchmark(name)
    has_folds = "fold" in CORPORA[benchmark.corpus].options
    chosen = (trained_fold if fold is None else fold) if has_folds else None
    options = {} if chosen is None else {"fold": chosen}
    reading = read_corpus(benchmark.corpus, locations.find(name), **options)
    trained = not set(training_corpora).isdisjoint(reading.dataset["corpus"])
    if trained and has_folds:
        _check_fold(name, chosen, trained_fold)
    on_test_side = trained or benchmark.own_test_side or (has_folds and fold is not None)
    return LoadedBenchmark(
        benchmark=benchmark,
        dataset=_test_side(name, reading.dataset) if on_test_side else reading.dataset,
        corpus_clips=len(reading.dataset),
        side="test" if on_test_side else "all",
        setting="in-domain" if trained else "zero-shot",
        fold=chosen if on_test_side else None,
        excluded=reading.excluded,
    )


def data_digest(dataset: Dataset, progress: bool = True) -> str:
    """sha256 over the sorted (id, audio digest) pairs: the same clips give the same digest, wherever they
    lie.

    A file that cannot be read takes part as "unreadable"; it fails again, with its reason, when it is
    encoded.
    """
    digest = hashlib.sha256()
    pairs = zip(dataset["id"], dataset["audio"], strict=True)
    for clip, path in tqdm(sorted(pairs), desc="digests", unit="clip", disable=not progress, leave=False):
        try:
            content = audio_digest(path)
        except (FASError, OSError):
            content = "unreadable"
        digest.update(f"{clip}\t{content}\n".encode())
    return digest.hexdigest()


def _benchmark(name: str) -> Benchmark:
    if name.startswith(_MANIFEST):
        return Benchmark(name, "manifest", own_test_side=True)
    if name not in BENCHMARKS:
        raise CorpusError(f"benchmark {name!r}: expected one of {', '.join(BENCHMARKS)}, or manifest:PATH")
    return BENCHMARKS[name]


def _check_fold(name: str, fold: int | None, trained_fold: int | None) -> None:
    if fold is None:
        raise CorpusError(f"{name}: the checkpoint was trained on other folds of it; say which is left with --fold")
    if trained_fold is not None and fold != trained_fold:
        raise CorpusError(
            f"{name}: fold {fold} was trained on, the checkpoint holds out fold {trained_fold}; "
            f"use --fold {trained_fold}"
        )


def _test_side(name: str, dataset: Dataset) -> Dataset:
    chosen = [i for i, split in enumerate(dataset["split"]) if split == "test"]
    if not chosen:
        sides = ", ".join(f"{split} {count}" for split, count in sorted(Counter(dataset["split"]).items()))
        raise CorpusError(
            f"{name}: no clip with split 'test' ({sides}); a checkpoint may have been trained on the others"
        )
    return dataset.select(chosen)
