"""Benchmarks, declared: which corpus, which side, how the papers call it, and where to get it.

`benchmarks.yaml` holds ours. A user adds one in the same form under `benchmarks:` of a run's YAML (`Benchmark.from_dict`), or
with `register(Benchmark(...))` in a file given with `--plugin`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fas_core.data import CORPORA
from fas_core.errors import CorpusError
from fas_eval.benchmarks.locations import MANIFEST, DataLocations
from fas_eval.benchmarks.published import published_results


@dataclass(frozen=True)
class Benchmark:
    """A corpus to score on.

    Attributes:
        name: as on the command line, and the folder below `--data-root`.
        corpus: reader in `fas_core.data.CORPORA`, or the benchmark's own name where its folder holds a manifest. options: of that reader, but for the fold, which a run chooses.
        title: as tables call it; the name where empty.
        published: the dataset's name in `published_results.csv`; empty where the papers report nothing.
        published_note: what stands against comparing those figures with ours, said beside them.
        languages: ISO 639-1 codes; empty where the corpus names none.
        protocol: which clips are scored, in words.
        own_test_side: the corpus comes with its test clips, and those are the benchmark for everyone. Otherwise
            a system that never saw the corpus is scored on all of it.
        conflict: words are annotated with an emotion of their own.
        clips: of the official release, those with labels that have no place included; None where nobody knows.
        source: where to get it. licence: of the audio.
        synthetic: nobody spoke it; its audio may be copied into a report.
        paper: one of the seven of the FAS paper (Huang et al. 2026, Table 2).
    """

    name: str
    corpus: str
    title: str = ""
    published: str = ""
    published_note: str = ""
    languages: tuple[str, ...] = ()
    protocol: str = ""
    own_test_side: bool = False
    conflict: bool = False
    clips: int | None = None
    source: str = ""
    licence: str = ""
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    synthetic: bool = False
    paper: bool = False

    @classmethod
    def from_dict(cls, values: Any) -> Benchmark:
        """An entry of a YAML file; fields as above, `name` and `corpus` needed.

        Raises:
            CorpusError: not a mapping, or a field that is missing, unknown or of another type.
        """
        if not isinstance(values, Mapping) or not {"name", "corpus"} <= set(values):
            raise CorpusError(f"benchmarks: {values!r}; expected a mapping with at least name and corpus")
        known = {f.name: f for f in dataclasses.fields(cls)}
        for key, value in values.items():
            if key not in known:
                raise CorpusError(f"benchmark {values['name']}: no field {key!r}; expected some of {', '.join(known)}")
            expected = _TYPES[known[key].type]
            # bool is an int in Python, and not a number of clips
            if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
                raise CorpusError(f"benchmark {values['name']}: {key} is {value!r}; expected {known[key].type}")
        # YAML 1.1 takes Norwegian for a truth value
        languages = tuple("no" if language is False else language for language in values.get("languages", ()))
        if not all(isinstance(language, str) for language in languages):
            raise CorpusError(
                f"benchmark {values['name']}: languages is {list(languages)!r}; expected ISO 639-1 codes such as en"
            )
        return cls(**{**values, "languages": languages})


_TYPES = {
    "str": str,
    "bool": bool,
    "tuple[str, ...]": list | tuple,
    "int | None": int | None,
    "Mapping[str, Any]": Mapping,
}
BENCHMARKS: dict[str, Benchmark] = {}


def register(benchmark: Benchmark) -> Benchmark:
    """Add a benchmark to `BENCHMARKS`; the same entry twice is no error.

    Raises:
        CorpusError: a name that is taken or that the command line could not take, an unknown corpus or option of its
            reader, or published figures that are not there.
    """
    name, corpus = benchmark.name, benchmark.corpus
    if BENCHMARKS.get(name, benchmark) != benchmark:
        raise CorpusError(f"benchmark {name}: there is one of this name already; choose another")
    if not name or set(name) & set(":=/\\ ,"):
        raise CorpusError(
            f"benchmark {name!r}: expected a name without spaces and : = / , as it is given to --benchmarks"
        )
    if corpus not in CORPORA and corpus != name:
        known = ", ".join(sorted(CORPORA))
        raise CorpusError(
            f"benchmark {name}: corpus {corpus!r}; expected one of {known}, or {name!r} for a folder with a manifest"
        )
    reader = CORPORA.get(corpus, CORPORA["manifest"])
    unknown = set(benchmark.options) - ({*reader.options, "exclude_labels"} - {"fold"})
    if unknown:
        raise CorpusError(f"benchmark {name}: {corpus} takes no option {', '.join(sorted(unknown))} here")
    if benchmark.published and not published_results(benchmark.published):
        raise CorpusError(f"benchmark {name}: no figures of {benchmark.published!r} in published_results.csv")
    BENCHMARKS[name] = benchmark
    return benchmark


def find_benchmark(name: str) -> Benchmark:
    """The entry of a name; of "manifest:PATH" one made for it.

    Raises:
        CorpusError: no such benchmark.
    """
    if name.startswith(MANIFEST):
        return Benchmark(name, "manifest", title=Path(name.removeprefix(MANIFEST)).name, own_test_side=True)
    if name not in BENCHMARKS:
        raise CorpusError(f"benchmark {name!r}: expected one of {', '.join(BENCHMARKS)}, or manifest:PATH")
    return BENCHMARKS[name]


def missing(locations: DataLocations, names: Iterable[str]) -> list[dict[str, str]]:
    """The benchmarks that are not there, as "missing" of results.json.

    Raises:
        CorpusError: a name that no benchmark has; a slip of the keyboard is not a missing corpus.
    """
    found = []
    for name in names:
        find_benchmark(name)
        try:
            locations.find(name)
        except CorpusError as error:
            found.append(missing_entry(name, str(error)))
    return found


def missing_entry(name: str, why: str) -> dict[str, str]:
    """Kind, name, why and where to get it; also for a folder that is there and cannot be read."""
    benchmark = find_benchmark(name)
    where = f"{benchmark.source} ({benchmark.licence})" if benchmark.licence else benchmark.source
    return {"kind": "benchmark", "name": name, "why": why, "where": where}


for _entry in yaml.safe_load(Path(__file__).with_name("benchmarks.yaml").read_text(encoding="utf-8")):
    register(Benchmark.from_dict(_entry))
