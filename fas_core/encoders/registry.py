"""Every encoder by the name that configurations call it: what it takes, and the module that builds it.

The module of an encoder, and what it needs, is imported when the first one is built.

Examples:
    An encoder of one's own (docs/encoders.md has a whole one):

    >>> register_encoder(EncoderType("mine", build=MyEncoder, options=()))  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from fas_core.errors import FASError

if TYPE_CHECKING:
    from fas_core.encoders.base import Encoder


@dataclass(frozen=True)
class EncoderType:
    """One kind of encoder.

    Attributes:
        name: the "type" of its configuration.
        build: `(config, device) -> Encoder`, or "module:function" of one, imported when first used.
        options: fields that its configuration takes beside "type". "model" among them is required, unless there is
            a `default_model`.
        default_model: the model where the configuration names none.
        extra: the extra of this package that it needs (`pip install 'fas-alm[EXTRA]'`).
        title: how tables call it.
        shares: `build` takes a third argument, a dict of one extractor, in which it finds what the other stream
            has loaded, so that two streams of one model hold its weights once.
    """

    name: str
    build: str | Callable[..., Encoder]
    options: tuple[str, ...] = ("model",)
    default_model: str = ""
    extra: str = ""
    title: str = ""
    shares: bool = False

    @property
    def needs_model(self) -> bool:
        return "model" in self.options and not self.default_model

    def load_build(self) -> Callable[..., Encoder]:
        if callable(self.build):
            return self.build
        module, _, function = self.build.partition(":")
        return getattr(import_module(module), function)


ENCODERS: dict[str, EncoderType] = {}


def register_encoder(kind: EncoderType) -> EncoderType:
    """Makes an encoder known to configurations; one of the same name is replaced. Returns it."""
    ENCODERS[kind.name] = kind
    return kind


def check_encoder_config(config: dict, where: str = "encoder") -> None:
    """Checks names and the model, without building anything.

    Args:
        config: {"type": ..., other options}.
        where: its field, for the message.

    Raises:
        FASError: a type, option or model that is not as registered.
    """
    name = config.get("type") if isinstance(config, dict) else None
    if name not in ENCODERS:
        raise FASError(f"stream config '{where}.type': {name!r}, expected one of {', '.join(ENCODERS)}")
    kind = ENCODERS[name]
    if unknown := sorted(set(config) - {"type", *kind.options}):
        takes = ", ".join(kind.options) or "none"
        raise FASError(f"stream config '{where}': unknown option {unknown[0]!r}, {name} takes {takes}")
    model = config.get("model")
    if not isinstance(model, str) and (kind.needs_model or model is not None):
        raise FASError(f"stream config '{where}.model': {model!r}, expected a name or path")


def build_encoder(config: dict, device=None, shared: dict | None = None) -> Encoder:
    """The encoder of a configuration {"type": ..., "model": ..., other options}.

    Args:
        device: torch device; the encoder's own choice if None.
        shared: a dict that the two streams of an extractor pass, see `EncoderType.shares`.

    Raises:
        FASError: an unknown type or option, or a value that the encoder does not take.
        CheckpointError: the model cannot be loaded.
        MissingDependencyError: a package that this encoder needs.
    """
    check_encoder_config(config)
    kind = ENCODERS[config["type"]]
    if kind.default_model and not config.get("model"):
        config = {**config, "model": kind.default_model}
    more = ({} if shared is None else shared,) if kind.shares else ()
    return kind.load_build()(config, device, *more)


_HERE = "fas_core.encoders"
_SPEECH = {"build": f"{_HERE}.speech_models:build", "options": ("model", "revision", "layer", "dtype"), "shares": True}


def _codecs(module: str, options=("model", "revision", "latent"), **codecs: tuple[str, str]) -> list[EncoderType]:
    """Codecs of one module: name=(title, default model)."""
    build = f"{_HERE}.{module}:build"
    return [EncoderType(name, build, options, model, title=title) for name, (title, model) in codecs.items()]


for _kind in (
    EncoderType("whisper", f"{_HERE}.whisper:build", ("model", "revision", "layer", "padding", "adapter"), title="Whisper", shares=True),
    EncoderType("soundstream", f"{_HERE}.soundstream:build", extra="soundstream", title="SoundStream"),
    EncoderType("hubert", default_model="facebook/hubert-large-ll60k", title="HuBERT", **_SPEECH),
    EncoderType("wavlm", default_model="microsoft/wavlm-large", title="WavLM", **_SPEECH),
    EncoderType("wav2vec2", default_model="facebook/wav2vec2-large-robust", title="wav2vec 2.0", **_SPEECH),
    EncoderType("data2vec", default_model="facebook/data2vec-audio-large", title="data2vec", **_SPEECH),
    EncoderType("clap", f"{_HERE}.clap:build", ("model", "revision", "dtype"), "laion/larger_clap_general", title="CLAP"),
    EncoderType(
        "emotion2vec", f"{_HERE}.emotion2vec:build", ("model", "revision"), "emotion2vec/emotion2vec_plus_large",
        extra="emotion2vec", title="emotion2vec",
    ),
    EncoderType("egemaps", f"{_HERE}.egemaps:build", (), extra="egemaps", title="eGeMAPS"),
    *_codecs("codecs", encodec=("EnCodec", "facebook/encodec_24khz"), dac=("DAC", "descript/dac_16khz"),
             mimi=("Mimi", "kyutai/mimi")),
    *_codecs("semantic_codecs", xcodec=("X-Codec", "hf-audio/xcodec-hubert-librispeech"),
             xcodec2=("XCodec2", "HKUSTAudio/xcodec2-hf"), neucodec=("NeuCodec", "neuphonic/neucodec")),
    *_codecs("codecs", ("model", "revision"), vibevoice=("VibeVoice", "microsoft/VibeVoice-AcousticTokenizer")),
    *_codecs("mingtok", ("model", "revision"), mingtok=("MingTok-Audio", "inclusionAI/MingTok-Audio")),
):  # fmt: skip
    register_encoder(_kind)
