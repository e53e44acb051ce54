"""Audio language models through transformers, in this process: Qwen2-Audio, Qwen2.5-Omni, Qwen3-Omni and others of their form.

Any model of `AutoModelForMultimodalLM` whose processor has a chat template with audio parts and takes `text` and `audio`. Of models
that also speak only the part that listens and writes is loaded; processors of models that also see need torchvision. A processor
that reads windows of 30 s (Qwen2-Audio's) hears the first one.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import soxr

from fas_alm.cues import with_cue_line
from fas_core.audio import SAMPLE_RATE, load_audio
from fas_core.checkpoint import find_device
from fas_core.encoders.weights import LOADING_ERRORS
from fas_core.errors import CheckpointError, first_line
from fas_core.model_files import check_model_files
from fas_core.paths import is_dir
from fas_core.precision import loading_dtype
from fas_eval.prompts import Prompt, load_prompt
from fas_eval.systems.base import BenchmarkClip, System, SystemAnswer
from fas_eval.systems.batches import in_batches
from fas_eval.systems.chat import EndpointJudge
from fas_eval.systems.cues import takes_cues
from fas_eval.systems.extraction import option_answer, text_answer
from fas_eval.systems.generation import letter_token_ids, option_logprobs, written
from fas_eval.systems.model_digests import count_parameters, source_digest
from fas_eval.systems.options import check_options

CODE_VERSION = 1
# Models that also speak, and the class of their part that listens and writes.
THINKERS = {
    "qwen2_5_omni": "Qwen2_5OmniThinkerForConditionalGeneration",
    "qwen3_omni_moe": "Qwen3OmniMoeThinkerForConditionalGeneration",
}
AUDIO = {"type": "audio", "audio": "clip.wav"}  # the template only looks that it is there


class AudioLLM(System):
    """A model that is loaded when the first clip is asked about.

    Args:
        source: hub id or directory. prompt: what is asked; the clip comes before the question.
        dtype: of the weights. device: None for what there is. device_map: of accelerate, instead of one device.
    """

    kind = "alm"

    def __init__(self, source: str, prompt: Prompt, *, name: str, title: str, revision: str | None = None,
                 judge: EndpointJudge | None = None, dtype: str = "auto", device: str | None = None,
                 device_map: str | dict | None = None, batch_size: int = 8, max_tokens: int = 64,
                 training_corpora: Sequence[str] = (), facts: dict | None = None):  # fmt: skip
        self.source, self.revision, self.prompt, self.name, self.title = source, revision, prompt, name, title
        self.judge, self.dtype, self.device, self.device_map = judge, dtype, device, device_map
        self.batch_size, self.max_tokens = batch_size, max_tokens
        self.training_corpora, self.facts = tuple(training_corpora), facts or {}
        self.weights_sha256 = source_digest(source, revision)

    def identity(self) -> dict:
        return {
            "type": "audio-llm",
            "weights_sha256": self.weights_sha256,
            "prompt": self.prompt.identity(),
            "judge": self.judge and self.judge.identity(),
            "dtype": self.dtype,
            "max_tokens": self.max_tokens,
            "code_version": CODE_VERSION,
        }

    def describe(self) -> dict:
        place = Path(self.source)
        parameters = count_parameters(place) if is_dir(place) else None
        if parameters is None and "model" in self.__dict__:
            parameters = self.model.num_parameters()
        return {
            "weights": "real",
            "parameters": parameters,
            "source": place.name if is_dir(place) else self.source,
        } | self.facts

    def answer(self, clips: Sequence[BenchmarkClip]) -> Iterator[SystemAnswer]:
        _ = self.model, self.processor  # a model that cannot be loaded is the system's failure, not each clip's
        yield from in_batches(clips, self.batch_size, self._answers)

    def _answers(self, clips: Sequence[BenchmarkClip]) -> list[SystemAnswer]:
        inputs = self._inputs(clips)
        if self.prompt.kind == "options":
            rows = option_logprobs(self.model, inputs, self.letters)
            return [option_answer(clip.id, row) for clip, row in zip(clips, rows, strict=True)]
        texts = written(self.model, inputs, self.processor.tokenizer, self.max_tokens)
        return [text_answer(c.id, text, self.prompt, self.judge) for c, text in zip(clips, texts, strict=True)]

    def _inputs(self, clips: Sequence[BenchmarkClip]) -> dict:
        """Of a batch, padded on the left."""
        rate = getattr(getattr(self.processor, "feature_extractor", None), "sampling_rate", SAMPLE_RATE)
        waveforms = [load_audio(clip.audio).samples for clip in clips]
        if rate != SAMPLE_RATE:
            waveforms = [soxr.resample(waveform, SAMPLE_RATE, rate) for waveform in waveforms]
        batch = self.processor(
            text=[self.rendered(self.told.get(clip.id)) for clip in clips], audio=waveforms, return_tensors="pt",
            text_kwargs={"padding": True, "padding_side": "left"}, audio_kwargs={"sampling_rate": rate},
        )  # fmt: skip
        batch = {k: v.to(self.model.dtype) if v.is_floating_point() else v for k, v in batch.items()}
        return {key: value.to(self.model.device) for key, value in batch.items()}

    def rendered(self, cues: Sequence[str] | None = None) -> str:
        """The prompt as the model's chat template writes it."""
        question = with_cue_line(self.prompt.fill(), cues, self.prompt.language)
        content = [AUDIO, {"type": "text", "text": question}]
        return self.processor.apply_chat_template(
            self.prompt.messages(content), tokenize=False, add_generation_prompt=True
        )

    @cached_property
    def letters(self) -> list[list[int]]:
        return letter_token_ids(self.processor.tokenizer)

    @cached_property
    def processor(self):
        from transformers import AutoProcessor

        try:
            check_model_files(self.source, self.revision, quantised=True)
            processor = AutoProcessor.from_pretrained(self.source, revision=self.revision, trust_remote_code=False)
        except LOADING_ERRORS as error:
            raise self._unusable(error) from None
        if not getattr(processor, "chat_template", None) or not hasattr(processor, "tokenizer"):
            raise self._unusable("its processor has no chat template or no tokenizer")
        return processor

    @cached_property
    def model(self):
        import transformers

        try:
            check_model_files(self.source, self.revision, quantised=True)
            config = transformers.AutoConfig.from_pretrained(
                self.source, revision=self.revision, trust_remote_code=False
            )
            kind = getattr(transformers, THINKERS.get(config.model_type, "AutoModelForMultimodalLM"))
            model, report = kind.from_pretrained(
                self.source, revision=self.revision, dtype=loading_dtype(self.dtype, find_device(self.device)),
                use_safetensors=True, trust_remote_code=False, output_loading_info=True,
                **({"device_map": self.device_map} if self.device_map else {}),
            )  # fmt: skip
        except LOADING_ERRORS as error:
            raise self._unusable(error) from None
        missing = sorted(report["missing_keys"])
        if missing:  # transformers would go on with random values
            raise self._unusable(f"its weights lack {missing[0]} and {len(missing) - 1} more")
        return model.eval() if self.device_map else model.eval().to(find_device(self.device))

    def _unusable(self, problem) -> CheckpointError:
        first = first_line(problem) if isinstance(problem, Exception) else problem
        hint = (
            ""
            if find_spec("torchvision")
            else "; a model that also sees (the Omni family) needs the package torchvision"
        )
        return CheckpointError(
            f"audio language model {self.source}: {first}; expected a hub id or directory of a model that hears{hint}"
        )

    def close(self) -> None:
        for part in ("model", "processor", "letters"):
            self.__dict__.pop(part, None)
        if self.judge:
            self.judge.chat.close()


@takes_cues
def build(options: dict, context) -> AudioLLM:
    """An audio language model through transformers.

    Options:
        model: hub id or directory (required). revision. prompt: options-en@1, or another of `eval.prompts`.
        dtype: of the weights, "auto". device_map: e.g. auto, for models that need several GPUs. batch_size: 8.
        max_tokens: of free answers, 64. judge: as of the endpoint.

    Raises:
        FASError: an unknown option. CheckpointError: no such model.
    """
    own = ("revision", "dtype", "device_map", "batch_size", "max_tokens")
    check_options(options, ("model", "prompt", "judge", *own), ("model",))
    source = str(options["model"])
    return AudioLLM(
        source, load_prompt(options.get("prompt", "options-en@1")), name=options["name"],
        title=options.get("title") or Path(source).name, judge=EndpointJudge.from_options(options.get("judge")),
        device=context.device, training_corpora=options.get("training_corpora", ()),
        facts={key: options[key] for key in ("source", "licence") if key in options},
        **{key: options[key] for key in own if key in options},
    )  # fmt: skip
