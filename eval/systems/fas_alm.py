"""Our ALM as a system: through transformers, adapter or whole model, and through vLLM, whole model."""

import gc
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from fas_alm.conversations import Question
from fas_alm.prompts import LANGUAGES, conflict_probability, option_token_ids, question_content
from fas_alm.transcript import Said, Spoken
from fas_alm.vllm.check import problem
from fas_alm.vllm.versions import CPU_PACKAGE
from fas_core.checkpoint import read_record
from fas_core.conflict import disagreement
from fas_core.errors import CheckpointError, FASError, MissingDependencyError
from fas_core.hub import find_directory, named_source
from fas_core.paths import expanded, is_file
from fas_core.shipped import FOLDER, NAMES
from fas_core.words.types import UNCLEAR
from fas_eval.prompts import Prompt, load_prompt
from fas_eval.systems.base import BenchmarkClip, System, SystemAnswer
from fas_eval.systems.batches import in_batches
from fas_eval.systems.chat import EndpointJudge
from fas_eval.systems.cues import takes_cues
from fas_eval.systems.endpoint import wav_part
from fas_eval.systems.extraction import option_answer, text_answer
from fas_eval.systems.model_digests import count_parameters, directory_digest, source_digest
from fas_eval.systems.options import check_options

CODE_VERSION = 3
GROUP = 64  # clips of which the answers appear together
TRAINED = ("adapter_model.safetensors", "projector.safetensors")
OWN = ("directory", "revision", "prompt", "judge", "max_tokens", "preset")
PRESETS = {  # what an ALM is compared with: itself, otherwise asked or kept from hearing
    "no-audio": {"audio": False},
    "no-words": {"words": False},
    "free-text": {"prompt": "free-en@1"},
    "chinese": {"prompt": "options-zh@1"},
}


class OurALM(System):
    """What both ways to run the model share.

    Args:
        directory: of `train/alm_adapter.py` or `python -m fas_alm.export`. prompt: what is asked, before the clip, as in training.
        base: digest of the LLM that an adapter is for. training: of `training_of`.
    """

    kind = "alm"
    engine: str

    def __init__(self, directory: Path, prompt: Prompt, *, name: str, title: str, judge: EndpointJudge | None = None,
                 max_tokens: int = 24, base: str | None = None, settings: dict | None = None,
                 training: tuple[tuple[str, ...], int | None] = ((), None)):  # fmt: skip
        self.directory, self.prompt, self.name, self.title = directory, prompt, name, title
        self.judge, self.max_tokens, self.base, self.settings = judge, max_tokens, base, settings or {}
        self.record = read_record(directory)
        self.training_corpora, self.fold = training
        self.weights_sha256 = directory_digest(directory)

    def identity(self) -> dict:
        return {
            "type": self.engine,
            "weights_sha256": self.weights_sha256,
            "base_sha256": self.base,
            "prompt": self.prompt.identity(),
            "judge": self.judge and self.judge.identity(),
            "max_tokens": self.max_tokens,
            "settings": self.settings,
            "code_version": CODE_VERSION,
        }

    def describe(self) -> dict:
        trained = [count_parameters(self.directory, pattern) for pattern in TRAINED]
        parameters = None if self.base else count_parameters(self.directory)
        facts = {
            "weights": "real", "parameters": parameters, "parameters_trained": sum(filter(None, trained)) or None,
            "training_seconds": self.record.get("seconds"), "source": self.directory.name,
        }  # fmt: skip
        return {key: value for key, value in facts.items() if value is not None}

    @property
    def temperature(self) -> float:
        """Of the options, fitted on the validation side of training."""
        from fas_alm.artifacts import read_audio_config

        return read_audio_config(self.directory).option_temperature

    def messages(self, audio: dict, spoken: Spoken = None, cues: Sequence[str] | None = None) -> list[dict]:
        language = self.prompt.language if self.prompt.language in LANGUAGES else "en"
        return self.prompt.messages(
            question_content(self.prompt.fill(), audio, spoken=spoken, cues=cues, language=language)
        )

    def read(self, clips: Sequence[BenchmarkClip], found: Sequence) -> list[SystemAnswer]:
        """Answers from log-probabilities of the letters, or from texts."""
        if self.prompt.kind == "options":
            temperature = self.temperature
            return [option_answer(c.id, values, temperature) for c, values in zip(clips, found, strict=True)]
        return [text_answer(c.id, text, self.prompt, self.judge) for c, text in zip(clips, found, strict=True)]

    def close(self) -> None:
        if self.judge:
            self.judge.chat.close()


class TransformersALM(OurALM):
    """Through transformers. Settings: `audio`: False puts zeros in the place of what FAS hears; `dtype` of the LLM; `words`: a model
    that has learned to read transcripts is told them, and is asked what the words express and whether they contradict the tone.

    Args:
        cache_dir: of FAS's features. language_model: where the LLM of an adapter is, if not where it was. device, batch_size.
    """

    engine = "alm"

    def __init__(self, *args, cache_dir: Path, language_model: str | None = None, device: str | None = None,
                 batch_size: int = GROUP, **options):  # fmt: skip
        super().__init__(*args, **options)
        self.cache_dir, self.language_model, self.device, self.batch_size = (
            cache_dir,
            language_model,
            device,
            batch_size,
        )

    def answer(self, clips: Sequence[BenchmarkClip]) -> Iterator[SystemAnswer]:
        _ = self.scorer  # a model that cannot be loaded is the system's failure, not each clip's
        yield from in_batches(clips, GROUP, self._answers)

    def _answers(self, clips: Sequence[BenchmarkClip]) -> list[SystemAnswer]:
        features = self.scorer.features([{"audio": clip.audio} for clip in clips])
        errors = {failure["file"]: failure["error"] for failure in features.failed}
        failed = [SystemAnswer.failure(clip.id, errors[clip.audio]) for clip in clips if clip.audio in errors]
        heard = [clip for clip in clips if clip.audio not in errors]
        if not heard:
            return failed
        audio = self.scorer.hearing(features, no_audio=not self.settings["audio"])
        parts = [{"type": "audio", "path": clip.audio} for clip in heard]
        reads = self.settings["words"] and self.scorer.model.config.transcripts
        spoken = [
            row["spoken"]
            for row in self.scorer.told([{"audio": c.audio} for c in heard], features, "auto" if reads else "none")
        ]
        cues = [self.told.get(clip.id) for clip in heard]
        messages = [self.messages(*each) for each in zip(parts, spoken, cues, strict=True)]
        ask = self.scorer.options if self.prompt.kind == "options" else self.scorer.write
        answers = self.read(heard, ask(audio, messages))
        if reads:
            self._ask_for_words(audio, list(zip(parts, spoken, cues, strict=True)), answers)
        return failed + answers

    def _ask_for_words(self, audio, heard: list[tuple], answers: list[SystemAnswer]) -> None:
        """Give the answers what was heard (audio part, words, cues), and, by the letters, the conflict and, of lettered answers, the disagreement."""
        words, conflicts = (
            self.scorer.options(
                audio,
                [[{"role": "user", "content": Question(task).content(*each)}] for each in heard],
            )
            for task in ("words", "conflict")
        )
        for answer, (_, said, _), letters, yes_or_no in zip(answers, heard, words, conflicts, strict=True):
            if not isinstance(said, Said):
                answer.words_missing = said.reason if said else UNCLEAR
                continue
            answer.transcript = said.text
            answer.conflict = round(conflict_probability(np.minimum(yes_or_no, 0))[0], 6)
            answer.heads["words"] = option_answer(answer.clip, letters).probabilities
            if answer.probabilities:
                answer.disagreement = round(float(disagreement(answer.probabilities, answer.heads["words"])), 6)

    @cached_property
    def scorer(self):
        from fas_alm.scorer import Scorer

        return Scorer.from_directory(
            self.directory, self.cache_dir, language_model=self.language_model, dtype=self.settings["dtype"],
            device=self.device, batch_size=self.batch_size,
        )  # fmt: skip

    def close(self) -> None:
        super().close()
        self.__dict__.pop("scorer", None)


class VLLMALM(OurALM):
    """Through vLLM in this process. Settings: those of `vllm.LLM` that differ from `fas_alm.vllm.offline.start_vllm`'s."""

    engine = "alm-vllm"

    def answer(self, clips: Sequence[BenchmarkClip]) -> Iterator[SystemAnswer]:
        _ = self.llm
        yield from in_batches(clips, GROUP, self._answers)

    def _answers(self, clips: Sequence[BenchmarkClip]) -> list[SystemAnswer]:
        from vllm import SamplingParams

        lettered = self.prompt.kind == "options"
        wanted = dict(max_tokens=1, logprob_token_ids=self.letters) if lettered else dict(max_tokens=self.max_tokens)
        messages = [self.messages(wav_part(clip.audio, "FLOAT"), cues=self.told.get(clip.id)) for clip in clips]
        outputs = [
            o.outputs[0] for o in self.llm.chat(messages, SamplingParams(temperature=0, **wanted), use_tqdm=False)
        ]
        if not lettered:
            return self.read(clips, [output.text for output in outputs])
        return self.read(clips, [[o.logprobs[0][token].logprob for token in self.letters] for o in outputs])

    @cached_property
    def letters(self) -> list[int]:
        return option_token_ids(self.llm.get_tokenizer())

    @cached_property
    def llm(self):
        from fas_alm.vllm.offline import start_vllm

        return start_vllm(self.directory, **self.settings)

    def close(self) -> None:
        super().close()
        self.__dict__.pop("letters", None)
        llm = self.__dict__.pop("llm", None)
        if llm is None:
            return
        from vllm.distributed import cleanup_dist_env_and_memory

        llm.llm_engine.engine_core.shutdown()
        del llm
        gc.collect()
        cleanup_dist_env_and_memory()


@takes_cues
def build(options: dict, context) -> TransformersALM:
    """Our ALM through transformers.

    Options:
        preset: one of `PRESETS`; options beside it win over it.
        directory: adapter or whole model, or its hub id (required); revision: of the hub id. prompt: options-en@1, or another of `eval.prompts`.
        audio: true; false answers without hearing. words: true; false tells no transcripts, also to a model that reads them. dtype: of the LLM, "auto". language_model: where the LLM of an adapter is, if
        not where it was in training. batch_size: 64. max_tokens: of free answers, 24. judge: as of the endpoint.

    Raises:
        FASError: an unknown option. CheckpointError: no such model, or not the LLM of the adapter.
    """
    check_options(options, (*OWN, "audio", "words", "dtype", "language_model", "batch_size"), ("directory",))
    options = with_preset(options)
    directory = _directory(options)
    language_model = options.get("language_model")
    settings = {name: bool(options.get(name, True)) for name in ("audio", "words")} | {
        "dtype": options.get("dtype", "auto")
    }
    more = {key: options[key] for key in ("max_tokens", "batch_size") if key in options}
    return TransformersALM(
        directory, cache_dir=expanded(context.cache_dir) / "features", device=context.device,
        language_model=language_model, base=_base_digest(directory, language_model), settings=settings,
        **_common(options, directory, f", {options['preset']}" if "preset" in options else "" if settings["audio"] else ", not hearing"), **more,
    )  # fmt: skip


def build_no_audio(options: dict, context) -> TransformersALM:
    """`build` with the preset "no-audio": what the language model answers without hearing."""
    return build({"preset": "no-audio"} | options, context)


def build_free_text(options: dict, context) -> TransformersALM:
    """`build` with the preset "free-text": answers in words of its own."""
    return build({"preset": "free-text"} | options, context)


def with_preset(options: dict) -> dict:
    """The options with those of their preset.

    Raises:
        FASError: an unknown preset.
    """
    name = options.get("preset")
    if name is not None and name not in PRESETS:
        raise FASError(f"system {options['name']}: preset {name!r}; expected one of {', '.join(PRESETS)}")
    return PRESETS.get(name, {}) | options


@takes_cues
def build_vllm(options: dict, context) -> VLLMALM:
    """Our ALM through vLLM, in float32 unless told otherwise, so that its answers are those of transformers.

    Options:
        directory: whole model of `python -m fas_alm.export` (required). prompt, max_tokens, judge: as of `build`.
        vllm: options of `vllm.LLM`, e.g. {dtype: bfloat16, enforce_eager: false}.

    Raises:
        FASError: an unknown option. CheckpointError: no whole model there. MissingDependencyError: no vLLM.
    """
    check_options(options, tuple({*OWN, "vllm"} - {"preset"}), ("directory",))
    try:
        import vllm  # noqa: F401
    except ImportError:
        message = f"{options['name']}: vLLM is not installed: pip install 'fas-alm[vllm]', without a GPU {CPU_PACKAGE}"
        raise MissingDependencyError(message) from None
    if why := problem():
        raise MissingDependencyError(f"{options['name']}: {why}; the system fas_alm is the same through transformers")
    directory = _directory(options)
    if not _is_whole(directory):
        raise CheckpointError(f"{directory}: vLLM needs a whole model; write one by python -m fas_alm.export")
    more = {"max_tokens": options["max_tokens"]} if "max_tokens" in options else {}
    return VLLMALM(directory, settings=dict(options.get("vllm", {})), **_common(options, directory, ", vLLM"), **more)


def training_of(options: dict) -> tuple[tuple[str, ...], int | None]:
    """(training corpora, fold) of a directory, before anything is loaded: of the ALM, and of the FAS that it hears with where a
    record of that is kept. `training_corpora` of the options, where given, is taken instead.
    """
    directory = find_directory(expanded(options["directory"]), options.get("revision"))
    record = read_record(directory)
    if options.get("training_corpora"):
        return tuple(options["training_corpora"]), record.get("arguments", {}).get("data", {}).get("fold")
    name = record.get("fas", {}).get("checkpoint")
    heard = read_record(FOLDER / name if name in NAMES else directory / "fas")
    corpora = [
        c for each in (record, heard) for c in each.get("data", {}).get("corpora", []) if c.get("learns") != "words"
    ]
    return tuple(dict.fromkeys(c["corpus"] for c in corpora)), record.get("arguments", {}).get("data", {}).get("fold")


def _common(options: dict, directory: Path, variant: str) -> dict:
    prompt = load_prompt(options.get("prompt", "options-en@1"))
    title = options.get("title") or f"FAS-ALM, {directory.name}{variant}"
    judge = EndpointJudge.from_options(options.get("judge"))
    return dict(prompt=prompt, name=options["name"], title=title, judge=judge, training=training_of(options))


def _directory(options: dict) -> Path:
    directory = find_directory(expanded(options["directory"]), options.get("revision"))
    if not is_file(directory / "config.json"):
        raise CheckpointError(
            f"{directory}: no model there; expected what train/alm_adapter.py or fas_alm.export wrote"
        )
    return directory


def _is_whole(directory: Path) -> bool:
    return any((directory / name).is_file() for name in ("model.safetensors", "model.safetensors.index.json"))


def _base_digest(directory: Path, language_model: str | None) -> str | None:
    """Of the LLM that an adapter is for; None for a whole model."""
    if _is_whole(directory):
        return None
    from fas_alm.artifacts import read_audio_config
    from fas_alm.language_models import language_model_dir

    config = read_audio_config(directory)
    name = language_model or config.base_language_model
    if not name:
        raise FASError(f"{directory}: does not say which language model it is for; give language_model")
    revision = None
    if not language_model:
        hint = "or name it yourself: language_model"
        name, revision = named_source(name, config.base_revision, f"{directory}/config.json: base_language_model", hint)
    return source_digest(language_model_dir(name), revision)
