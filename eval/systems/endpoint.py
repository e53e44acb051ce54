"""Audio language models behind any OpenAI-compatible endpoint: vLLM, SGLang, OpenAI, a gateway of ours.

Each clip is one request, with the clip as an `input_audio` part (wav, 16 kHz, mono, 16 bit). Whatever goes wrong with a clip is an
answer that failed: it is counted, and asked again by the next run.
"""

import base64
import io
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

import soundfile

from fas_alm.cues import with_cue_line
from fas_alm.endpoint import OPTIONS, ChatEndpoint, Completion, EndpointError
from fas_alm.prompts import question_content
from fas_core.audio import SAMPLE_RATE, load_audio
from fas_core.errors import FASError
from fas_eval.prompts import Prompt, load_prompt
from fas_eval.systems.base import BenchmarkClip, System, SystemAnswer
from fas_eval.systems.chat import EndpointJudge, answer_of
from fas_eval.systems.cues import takes_cues
from fas_eval.systems.options import check_options

CODE_VERSION = 1
TOP_LOGPROBS = 20  # the most that OpenAI and vLLM give
GIVE_UP_AFTER = 25  # clips in a row: an endpoint that is down would cost its time-outs for every clip


class EndpointSystem(System):
    """A model that hears clips behind an endpoint.

    Args:
        chat: the endpoint. prompt: what is asked. judge: reads answers that the rules cannot.
        concurrency: requests at a time.
        audio_first: the clip before the question, as most models are trained; ours has the question first.
        max_tokens: of an answer; more for models that think aloud.
    """

    kind = "endpoint"

    def __init__(self, chat: ChatEndpoint, prompt: Prompt, *, name: str, title: str, judge: EndpointJudge | None = None,
                 concurrency: int = 8, audio_first: bool = True, max_tokens: int = 64, training_corpora: Sequence[str] = (),
                 facts: dict | None = None):  # fmt: skip
        self.chat, self.prompt, self.name, self.title, self.judge = chat, prompt, name, title, judge
        self.concurrency, self.audio_first, self.max_tokens = concurrency, audio_first, max_tokens
        self.training_corpora, self.facts = tuple(training_corpora), facts or {}
        self._lock, self._failed_in_a_row = threading.Lock(), 0

    def identity(self) -> dict:
        return {
            "type": "endpoint",
            "chat": self.chat.identity(),
            "prompt": self.prompt.identity(),
            "judge": self.judge and self.judge.identity(),
            "audio_first": self.audio_first,
            "max_tokens": self.max_tokens,
            "code_version": CODE_VERSION,
        }

    def describe(self) -> dict:
        return {"weights": "real", "source": self.chat.model} | self.facts

    def answer(self, clips: Sequence[BenchmarkClip]) -> Iterator[SystemAnswer]:
        self._failed_in_a_row = 0
        pool = ThreadPoolExecutor(self.concurrency)
        try:
            for future in as_completed([pool.submit(self._answer, clip) for clip in clips]):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, clip: BenchmarkClip) -> SystemAnswer:
        start, retries = time.perf_counter(), 0
        try:
            completion = self._ask(self.content(clip))
            retries = completion.retries
            answer = answer_of(completion, clip.id, self.prompt, self.judge)
        except FASError as error:
            answer = SystemAnswer.failure(clip.id, str(error), retries=retries + getattr(error, "retries", 0))
        answer.seconds = round(time.perf_counter() - start, 6)
        return answer

    def content(self, clip: BenchmarkClip) -> str | list[dict]:
        """Of the user's message. Raises `FASError` for a clip that cannot be asked about."""
        question = with_cue_line(self.prompt.fill(), self.told.get(clip.id), self.prompt.language)
        return question_content(question, wav_part(clip.audio), self.audio_first)

    def _ask(self, content: str | list[dict]) -> Completion:
        with self._lock:
            if self._failed_in_a_row >= GIVE_UP_AFTER:
                raise EndpointError(f"not asked: the endpoint failed {GIVE_UP_AFTER} times in a row")
        wanted = {"logprobs": True, "top_logprobs": TOP_LOGPROBS} if self.prompt.kind == "options" else {}
        try:
            completion = self.chat.ask(
                self.prompt.messages(content), max_tokens=self.max_tokens, temperature=0, **wanted
            )
        except EndpointError:
            with self._lock:
                self._failed_in_a_row += 1
            raise
        with self._lock:
            self._failed_in_a_row = 0
        return completion

    def close(self) -> None:
        self.chat.close()
        if self.judge:
            self.judge.chat.close()


def wav_part(file: str, subtype: str = "PCM_16") -> dict:
    """A clip as an `input_audio` part: wav, 16 kHz, mono, 16 bit unless `subtype` says "FLOAT".

    Raises:
        AudioError: it cannot be read.
    """
    buffer = io.BytesIO()
    soundfile.write(buffer, load_audio(file).samples, SAMPLE_RATE, format="WAV", subtype=subtype)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


@takes_cues
def build(options: dict, context) -> EndpointSystem:
    """An audio endpoint.

    Options:
        model: as the endpoint calls it (required). base_url: with its /v1; OpenAI's by default.
        api_key_env: name of the environment variable with the key; the key itself is written nowhere.
        prompt: options-en@1, or another of `eval.prompts`. audio_first: true; false for FAS-ALM behind its gateway.
        timeout: seconds of an attempt (120). retries: 4. concurrency: 8. max_tokens: 64. extra: more fields of the request, e.g.
        {modalities: [text]}. judge: {model, base_url, api_key_env, prompt, ...}: a text LLM that reads what the rules cannot.

    Raises:
        FASError: an unknown option. MissingDependencyError: no package openai. CheckpointError: a key that is not set.
    """
    own = ("prompt", "judge", "concurrency", "audio_first", "max_tokens")
    check_options(options, (*OPTIONS, *own), ("model",))
    chosen = {key: options[key] for key in ("concurrency", "audio_first", "max_tokens") if key in options}
    return EndpointSystem(
        ChatEndpoint.from_options(options), load_prompt(options.get("prompt", "options-en@1")), name=options["name"],
        title=options.get("title") or options["model"], judge=EndpointJudge.from_options(options.get("judge")),
        training_corpora=options.get("training_corpora", ()),
        facts={key: options[key] for key in ("source", "licence") if key in options}, **chosen,
    )  # fmt: skip
