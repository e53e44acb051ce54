"""Where benchmarks lie, and which of their clips a system may be scored on."""

import hashlib
import logging
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from datasets import Dataset

from fas_core.data import has_folds, read_corpus
from fas_core.errors import CorpusError
from fas_core.labels import UNKNOWN
from fas_eval.benchmarks.entries import Benchmark, find_benchmark
from fas_eval.benchmarks.locations import DataLocations

UNREADABLE = "unreadable"  # takes the place of a file's digest
logger = logging.getLogger(__name__)
Training = tuple[Collection[str], int | None]  # corpora that a system was trained on, and the fold it holds out


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

    def setting_for(self, training_corpora: Collection[str]) -> str:
        """Setting of one system, in a run that chose the side for several: "in-domain" or "zero-shot"."""
        return _setting(training_corpora, self.dataset, self.benchmark.name)

    @property
    def incomplete(self) -> str | None:
        """What to say of a folder that holds less than the official release; None where it is complete."""
        labelled = (
            n
            for why, n in self.excluded.items()
            if why.endswith("no place") or why.startswith((UNKNOWN, "label left out"))
        )
        here, expected = self.corpus_clips + sum(labelled), self.benchmark.clips
        if expected is None or here >= expected:
            return None
        return f"{self.benchmark.name}: {here} of the release's {expected} clips are here; figures are of this part"


def shared_side(
    systems_training: Iterable[Training], corpus: str | None = None, fold: int | None = None
) -> tuple[tuple[str, ...], int | None]:
    """The training corpora and the fold with which `load_benchmark` chooses one side for several systems.

    Args:
        systems_training: (training corpora, fold held out) of each system.
        corpus: only systems that were trained on this one have a say on the fold; None: on any with folds.
        fold: the fold that the user asks for.

    Returns:
        All corpora that a system was trained on, sorted, and the fold; None where none is held out.

    Raises:
        CorpusError: systems that hold out different folds, or some of which nobody knows the fold: no side is
            unseen by all of them.
    """
    trainings = [(set(corpora), held_out) for corpora, held_out in systems_training]
    union = tuple(sorted(set().union(*(corpora for corpora, _ in trainings))))
    with_folds = {name for name in union if has_folds(name) and corpus in (None, name)}
    held_out = {fold_of for corpora, fold_of in trainings if corpora & with_folds}
    if not held_out:
        return union, fold
    known = (held_out | {fold}) - {None}
    if len(known) > 1:
        raise CorpusError(
            f"{', '.join(sorted(with_folds))}: folds {', '.join(map(str, sorted(known)))} are held out or asked for; one side "
            "for all needs systems that hold out the same fold, and --fold, where given, of the same number"
        )
    if None in held_out and known and fold is None:
        (number,) = known
        raise CorpusError(
            f"{', '.join(sorted(with_folds))}: one system holds out fold {number}, another was trained on it and does not "
            f"say which fold it holds out; if it is the same, give --fold {number}"
        )
    return union, next(iter(known), None)


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
    `fold` is given is scored on its "test" side; any other corpus as a whole. A division that was drawn at random, because a
    table names neither sides nor speakers, is no test side of its own.

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
    benchmark = find_benchmark(name)
    is_folded = has_folds(benchmark.corpus)
    chosen = (trained_fold if fold is None else fold) if is_folded else None
    options = dict(benchmark.options) | ({} if chosen is None else {"fold": chosen})
    options["exclude_labels"] = [*options.get("exclude_labels", ()), *locations.exclude_labels]
    reading = read_corpus(benchmark.corpus, locations.find(name), **options)
    setting = _setting(training_corpora, reading.dataset, name)
    trained = setting == "in-domain"
    if trained and is_folded:
        _check_fold(name, chosen, trained_fold)
    own_side = benchmark.own_test_side and not reading.drawn
    on_test_side = trained or own_side or (is_folded and fold is not None)
    loaded = LoadedBenchmark(
        benchmark=benchmark,
        dataset=_test_side(name, reading.dataset) if on_test_side else reading.dataset,
        corpus_clips=len(reading.dataset),
        side="test" if on_test_side else "all",
        setting=setting,
        fold=chosen if on_test_side else None,
        excluded=reading.excluded,
    )
    if loaded.incomplete:
        logger.warning(loaded.incomplete)
    return loaded


def digest_of_digests(pairs: Iterable[tuple[str, str]]) -> str:
    """sha256 over the sorted (id, audio digest) pairs: the same clips give the same digest, wherever they lie.

    A file that cannot be read takes part as `UNREADABLE`.
    """
    digest = hashlib.sha256()
    for clip, content in sorted(pairs):
        digest.update(f"{clip}\t{content}\n".encode())
    return digest.hexdigest()


def _setting(training_corpora: Collection[str], dataset: Dataset, name: str) -> str:
    """A system may be known to be trained on a corpus, or, where it is trained by the suite, on a benchmark's training side."""
    return "zero-shot" if set(training_corpora).isdisjoint([name, *dataset.unique("corpus")]) else "in-domain"


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
