"""Systems by type, and what a user writes to get one: `type`, `type:argument`, or an entry of a YAML file.

systems:
  - fas                                     # the shipped checkpoint
  - fas:runs/mine
  - {type: fas-train, recipe: concat, name: concat, group: fusion}
  - {type: endpoint, name: qwen2-audio, base_url: http://127.0.0.1:8000/v1, model: Qwen/Qwen2-Audio-7B-Instruct}
"""

import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from fas_core.errors import FASError
from fas_eval.benchmarks.entries import BENCHMARKS
from fas_eval.systems.base import System
from fas_eval.systems.context import BuildContext


@dataclass(frozen=True)
class SystemType:
    """A way to make systems.

    Attributes:
        name: as a user writes it. title: one line for `--help` and the docs.
        build: (options, context) -> System, or "module:function", imported when it is needed. The options hold `name`, and `seed`
            where the system is trained here.
        argument: option that `type:argument` sets; "" where there is none.
        trained: on the run's training corpora, once for each seed.
        training: options -> (corpora, fold) of a system that comes trained, known before it is built.
    """

    name: str
    title: str
    build: Callable[[dict, BuildContext], System] | str
    argument: str = ""
    trained: bool = False
    training: Callable[[dict], tuple[tuple[str, ...], int | None]] | str | None = None


SYSTEMS: dict[str, SystemType] = {}


def register(kind: SystemType) -> SystemType:
    """Make a type known, for `--plugin FILE.py`.

    Raises:
        FASError: the name is taken.
    """
    if kind.name in SYSTEMS:
        raise FASError(f"system type {kind.name!r} is registered already; choose another name")
    SYSTEMS[kind.name] = kind
    return kind


for _kind in (
    SystemType("fas", "a FAS checkpoint (default: the shipped one)", "fas_eval.systems.fas:build", "checkpoint",
               training="fas_eval.systems.fas:training_of"),
    SystemType("fas-train", "FAS or an ablation, trained for this run", "fas_eval.systems.fas:build_trained", "recipe", trained=True),
    SystemType("pooled", "frozen encoder, statistics over time, a classifier; two pathways: late fusion",
               "fas_eval.systems.pooled:build", "encoder", trained=True),
    SystemType("egemaps", "eGeMAPS functionals, logistic regression", "fas_eval.systems.egemaps:build", trained=True),
    SystemType("alm", "our ALM through transformers", "fas_eval.systems.fas_alm:build", "directory",
               training="fas_eval.systems.fas_alm:training_of"),
    *(
        SystemType(f"alm-{preset}", f"our ALM, {what}", f"fas_eval.systems.fas_alm:build_{preset.replace('-', '_')}", "directory",
                   training="fas_eval.systems.fas_alm:training_of")
        for preset, what in (("no-audio", "kept from hearing"), ("free-text", "in words of its own"))
    ),
    SystemType("alm-vllm", "our ALM through vLLM", "fas_eval.systems.fas_alm:build_vllm", "directory",
               training="fas_eval.systems.fas_alm:training_of"),
    SystemType("audio-llm", "an audio language model through transformers", "fas_eval.systems.audio_llm:build", "model"),
    SystemType("endpoint", "an OpenAI-compatible audio endpoint", "fas_eval.systems.endpoint:build", "model"),
    SystemType("cascade", "Whisper's transcript to a text LLM", "fas_eval.systems.cascade:build", "language_model"),
):  # fmt: skip
    register(_kind)


@dataclass
class Planned:
    """A system that is still to be built.

    Attributes:
        name, title, seed, training_corpora, fold: as of `System`; the title is empty where the system gives its own.
        group: systems of one group form an ablation table.
        build: makes it. Raises `FASError` where something is missing.
    """

    name: str
    title: str
    seed: int | None
    build: Callable[[], System]
    group: str = ""
    training_corpora: tuple[str, ...] = ()
    fold: int | None = None
    options: dict = field(default_factory=dict)


def plan_systems(entries: Iterable[str | dict], context: BuildContext, seeds: Sequence[int]) -> list[Planned]:
    """What a run is to build, in order; a system that is trained here once for each seed, of its own `seeds` where it has some.

    Raises:
        FASError: an unknown type, an entry of another form, or two systems of one name.
    """
    planned: list[Planned] = []
    for entry in entries:
        options = read_options(entry)
        kind = SYSTEMS[options["type"]]
        if options["name"] in {p.name for p in planned}:
            raise FASError(f"system {options['name']!r}: given twice; tell them apart with name: in a YAML file")
        own = options.pop("seeds", seeds)
        for seed in dict.fromkeys(own) if kind.trained else [None]:
            planned.append(_planned(kind, options | ({} if seed is None else {"seed": seed}), context))
    return planned


def read_options(entry: str | dict) -> dict:
    """An entry as a user writes it -> its options, type and name among them. Raises `FASError` for another form."""
    if isinstance(entry, str):
        name, _, argument = entry.partition(":")
        entry = {"type": name} | ({_kind_of(name).argument or "argument": argument} if argument else {})
    if not isinstance(entry, dict) or "type" not in entry:
        raise FASError(f"system {entry!r}: expected TYPE, TYPE:ARGUMENT, or an entry with type: and options")
    kind = _kind_of(entry["type"])
    return {"name": _default_name(kind, entry)} | entry


def _kind_of(name: str) -> SystemType:
    if name not in SYSTEMS:
        raise FASError(f"system type {name!r}: expected one of {', '.join(SYSTEMS)}")
    return SYSTEMS[name]


def _default_name(kind: SystemType, entry: dict) -> str:
    argument = str(entry.get(kind.argument, "")).rstrip("/")
    return f"{kind.name}:{PurePath(argument).name}" if argument else kind.name


def _planned(kind: SystemType, options: dict, context: BuildContext) -> Planned:
    corpora, fold = (
        (_corpora_of(context.training), context.fold)
        if kind.trained
        else (tuple(options.get("training_corpora", ())), None)
    )
    if kind.training and not corpora:
        corpora, fold = resolve(kind.training)(options)
    return Planned(
        name=options["name"], title=options.get("title", ""), seed=options.get("seed"), group=options.get("group", ""),
        build=lambda: resolve(kind.build)(options, context), training_corpora=corpora, fold=fold, options=options,
    )  # fmt: skip


def _corpora_of(benchmarks: Sequence[str]) -> tuple[str, ...]:
    """Benchmarks, and what their clips may be called elsewhere: another benchmark may read the same corpus."""
    readers = {name: BENCHMARKS[name].corpus for name in benchmarks if name in BENCHMARKS}
    names = [
        each for name in benchmarks for each in (name, readers.get(name, name)) if each != "manifest"
    ]  # a form, no corpus
    return tuple(dict.fromkeys(names))


def resolve(target: Callable | str) -> Callable:
    """ "module:function" imported; a function as it is."""
    if callable(target):
        return target
    module, _, function = target.partition(":")
    return getattr(importlib.import_module(module), function)
