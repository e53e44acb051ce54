"""The cascade: what Whisper hears said, judged by a language model that reads. It cannot follow the tone where the words disagree.

The text of an answer is the transcript.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from fas_alm.cues import with_cue_line
from fas_alm.endpoint import OPTIONS, ChatEndpoint
from fas_core.checkpoint import find_device
from fas_core.errors import CheckpointError, FASError
from fas_core.paths import expanded, is_dir
from fas_core.precision import loading_dtype
from fas_eval.prompts import SLOTS, Prompt, load_prompt
from fas_eval.systems.base import BenchmarkClip, System, SystemAnswer
from fas_eval.systems.batches import in_batches
from fas_eval.systems.chat import EndpointJudge
from fas_eval.systems.cues import takes_cues
from fas_eval.systems.endpoint import EndpointSystem
from fas_eval.systems.extraction import option_answer, text_answer
from fas_eval.systems.model_digests import count_parameters, source_digest
from fas_eval.systems.options import check_options
from fas_eval.systems.transcripts import VERSION, FileTranscripts, whisper_dir

CODE_VERSION = 1
GROUP = 64  # clips that are transcribed before the language model is asked
OWN = (
    "language_model",
    "revision",
    "whisper",
    "prompt",
    "endpoint",
    "judge",
    "batch_size",
    "max_tokens",
    "dtype",
    "concurrency",
)


class Transcripts:
    """Transcripts of clips, and which Whisper wrote them.

    Args:
        whisper: hub id, directory or "offline:NAME". cache_dir: where texts are kept. device. progress: show a bar.
    """

    def __init__(self, whisper: str, cache_dir: Path, device: str | None, progress: bool):
        self.whisper, self.weights_sha256 = whisper, source_digest(whisper_dir(whisper))
        place = cache_dir / "transcripts" / self.weights_sha256[:16]  # a directory may get other weights
        self.transcriber = FileTranscripts(whisper, place, device, progress)

    def answers(
        self,
        clips: Sequence[BenchmarkClip],
        ask: Callable[[list[BenchmarkClip], dict[str, str]], Iterable[SystemAnswer]],
    ) -> Iterator[SystemAnswer]:
        """One answer for each clip: those of `ask(clips that can be read, clip id -> transcript)`, their text the transcript.

        Their time is Whisper's too, unless the transcript was known.
        """
        for start in range(0, len(clips), GROUP):
            group, failed, began = clips[start : start + GROUP], {}, time.perf_counter()
            texts = self.transcriber([clip.audio for clip in group], failed)
            listening = (time.perf_counter() - began) / len(group)
            yield from (SystemAnswer.failure(c.id, failed[c.audio]) for c in group if c.audio in failed)
            said = {clip.id: texts[clip.audio] for clip in group if clip.audio in texts}
            for answer in ask([clip for clip in group if clip.id in said], said):
                answer.text, answer.seconds = said[answer.clip], round((answer.seconds or 0) + listening, 6)
                yield answer


class Cascade(System):
    """With a language model in this process.

    Args:
        language_model: hub id, directory or "offline:smollm2". transcripts. prompt: with the slot `{transcript}`.
    """

    kind = "cascade"

    def __init__(self, language_model: str, transcripts: Transcripts, prompt: Prompt, *, name: str, title: str,
                 revision: str | None = None, judge: EndpointJudge | None = None, device: str | None = None, dtype: str = "auto",
                 batch_size: int = 16, max_tokens: int = 24):  # fmt: skip
        from fas_alm.language_models import language_model_dir

        self.language_model, self.revision, self.transcripts, self.prompt = (
            language_model,
            revision,
            transcripts,
            prompt,
        )
        self.name, self.title, self.judge, self.device, self.dtype = name, title, judge, device, dtype
        self.batch_size, self.max_tokens = batch_size, max_tokens
        self.place = language_model_dir(language_model)
        self.weights_sha256 = source_digest(self.place, revision)

    def identity(self) -> dict:
        return {
            "type": "cascade",
            "weights_sha256": self.weights_sha256,
            "whisper_sha256": self.transcripts.weights_sha256,
            "prompt": self.prompt.identity(),
            "judge": self.judge and self.judge.identity(),
            "dtype": self.dtype,
            "max_tokens": self.max_tokens,
            "transcripts_version": VERSION,
            "code_version": CODE_VERSION,
        }

    def describe(self) -> dict:
        from fas_alm.language_models import public_name

        names = [public_name(name) for name in (self.transcripts.whisper, self.language_model)]
        parameters = count_parameters(Path(self.place)) if is_dir(self.place) else None
        return {"weights": "real", "source": " and ".join(names)} | ({"parameters": parameters} if parameters else {})

    def answer(self, clips: Sequence[BenchmarkClip]) -> Iterator[SystemAnswer]:
        _ = self.parts  # a model that cannot be loaded is the system's failure, not each clip's
        yield from self.transcripts.answers(
            clips, lambda heard, said: in_batches(heard, self.batch_size, lambda batch: self._answers(batch, said))
        )

    def _answers(self, clips: Sequence[BenchmarkClip], said: dict[str, str]) -> list[SystemAnswer]:
        from fas_eval.systems.generation import option_logprobs, written

        model, tokenizer, letters = self.parts
        texts = [self._render(_question(self, clip, said)) for clip in clips]
        inputs = tokenizer(texts, padding=True, padding_side="left", add_special_tokens=False, return_tensors="pt")
        inputs = {key: inputs[key].to(model.device) for key in ("input_ids", "attention_mask")}
        if self.prompt.kind == "options":
            rows = option_logprobs(model, inputs, letters)
            return [option_answer(c.id, row) for c, row in zip(clips, rows, strict=True)]
        answers = written(model, inputs, tokenizer, self.max_tokens)
        return [text_answer(c.id, text, self.prompt, self.judge) for c, text in zip(clips, answers, strict=True)]

    def _render(self, question: str) -> str:
        return self.parts[1].apply_chat_template(
            self.prompt.messages(question), tokenize=False, add_generation_prompt=True
        )

    @cached_property
    def parts(self) -> tuple:
        """Model, tokenizer, ids of the letters."""
        from fas_alm.chat import audio_chat_template
        from fas_alm.language_models import load_language_model
        from fas_eval.systems.generation import letter_token_ids

        model, tokenizer = load_language_model(
            self.language_model, self.revision, loading_dtype(self.dtype, find_device(self.device))
        )
        if not tokenizer.chat_template:
            raise CheckpointError(f"language model {self.language_model}: no chat template; expected an instruct model")
        tokenizer.chat_template = audio_chat_template(tokenizer.chat_template)  # no thoughts before the letter
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        return model.to(find_device(self.device)), tokenizer, letter_token_ids(tokenizer)

    def close(self) -> None:
        self.__dict__.pop("parts", None)
        self.transcripts.transcriber.close()
        if self.judge:
            self.judge.chat.close()


class EndpointCascade(EndpointSystem):
    """With a text model behind an OpenAI-compatible endpoint."""

    kind = "cascade"

    def __init__(self, chat: ChatEndpoint, transcripts: Transcripts, prompt: Prompt, **options):
        super().__init__(chat, prompt, **options)
        self.transcripts, self._said = transcripts, {}

    def identity(self) -> dict:
        return super().identity() | {
            "type": "cascade-endpoint",
            "whisper_sha256": self.transcripts.weights_sha256,
            "transcripts_version": VERSION,
        }

    def answer(self, clips: Sequence[BenchmarkClip]) -> Iterator[SystemAnswer]:
        yield from self.transcripts.answers(clips, self._ask_about)

    def _ask_about(self, clips: list[BenchmarkClip], said: dict[str, str]) -> Iterator[SystemAnswer]:
        self._said = said
        return super().answer(clips)

    def content(self, clip: BenchmarkClip) -> str:
        return _question(self, clip, self._said)

    def close(self) -> None:
        super().close()
        self.transcripts.transcriber.close()


def _question(system: Cascade | EndpointCascade, clip: BenchmarkClip, said: dict[str, str]) -> str:
    question = system.prompt.fill(transcript=said[clip.id])
    return with_cue_line(question, system.told.get(clip.id), system.prompt.language)


@takes_cues
def build(options: dict, context) -> System:
    """The cascade.

    Options:
        language_model: hub id, directory or offline:smollm2 (the default); revision, dtype ("auto"), batch_size (16) of it.
        endpoint: {model, base_url, api_key_env, ...}: a text model behind an endpoint instead; concurrency (8) of it.
        whisper: offline:base, or any Whisper with decoder. prompt: cascade-en@1, cascade-zh@1, or one with {transcript}.
        max_tokens: of free answers. judge: as of the endpoint.

    Raises:
        FASError: an unknown option, a prompt without {transcript}, both kinds of model. CheckpointError: a model that is not there.
        MissingDependencyError: a package of an offline model, or openai, is not installed.
    """
    check_options(options, OWN)
    prompt = load_prompt(options.get("prompt", "cascade-en@1"))
    if SLOTS[0] not in prompt.user:
        raise FASError(
            f"system {options['name']}: prompt {prompt.id} has no {SLOTS[0]}; expected cascade-en@1 or the like"
        )
    cache = expanded(context.cache_dir)
    whisper = Transcripts(str(options.get("whisper", "offline:base")), cache, context.device, not context.quiet)
    judge = EndpointJudge.from_options(options.get("judge"))
    if "endpoint" not in options:
        source = str(options.get("language_model", "offline:smollm2"))
        chosen = {k: options[k] for k in ("revision", "dtype", "batch_size", "max_tokens") if k in options}
        title = options.get("title") or f"cascade: {Path(whisper.whisper).name} to {Path(source).name}"
        return Cascade(
            source, whisper, prompt, name=options["name"], title=title, judge=judge, device=context.device, **chosen
        )
    if "language_model" in options:
        raise FASError(f"system {options['name']}: both language_model and endpoint; expected one of them")
    served = options["endpoint"]
    check_options({"name": f"{options['name']}, endpoint", **served}, OPTIONS, ("model",))
    chosen = {k: options[k] for k in ("concurrency", "max_tokens") if k in options}
    title = options.get("title") or f"cascade: {Path(whisper.whisper).name} to {served['model']}"
    return EndpointCascade(
        ChatEndpoint.from_options(served), whisper, prompt, name=options["name"], title=title, judge=judge, **chosen
    )
