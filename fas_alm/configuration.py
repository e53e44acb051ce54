"""Configuration of FAS-ALM: an LLM, a FAS, and the Whisper encoder that both of FAS's streams read."""

from typing import Any, cast

from transformers import AutoConfig, PreTrainedConfig, WhisperConfig

from fas_alm.connector import ConnectorConfig
from fas_alm.window_tokens import WindowTokens
from fas_core.configuration_fas import FASConfig
from fas_core.encoders.extractor import StreamConfig
from fas_core.errors import CheckpointError
from fas_core.windows import WINDOW_SECONDS

AUDIO_TOKEN = "<|audio|>"
AUDIO_TOKENS = ("fused", "distilled", "frames", "fused+frames")
FRAMES_PER_SECOND = 50
PARTS = ("text_config", "fas_config", "encoder_config")


class FASAudioConfig(PreTrainedConfig):
    """Settings of `FASAudioForConditionalGeneration`.

    Args:
        text_config: configuration of the LLM, any causal one; its `architectures` names the class.
        fas_config: `FASConfig` with its `streams`: two layers of one Whisper.
        encoder_config: `WhisperConfig` of that Whisper.
        audio_tokens: "fused" gives the LLM the N_q fused tokens of each window of audio; "distilled" the kept tokens
            of both streams (k_acoustic + k_semantic), to measure what the bottleneck costs; "frames" what C²SER's connector
            makes of all patches of both streams, as many tokens as patches; "fused+frames" both, fused tokens first.
        connector: fields of `ConnectorConfig`, where frames are heard; None, and in files of before, where they are not.
        audio_token_id: id of `<|audio|>`, inside the vocabulary of the LLM.
        option_temperature: calibrates the probabilities of lettered options (Guo et al. 2017).
        transcripts: the LLM has learned to read the words of an audio behind it (`fas_alm.transcript`).
        cues: the LLM has learned to read acoustic cues behind an audio (`fas_alm.cues`), by these statistics
            (`fas_core.cues.levels.Statistics.to_dict`); None: it has not.
        base_language_model, base_revision: hub id or "offline:NAME" of the LLM that an adapter was trained on.

    Raises:
        CheckpointError: streams other than two layers of one Whisper, widths that do not fit, an audio token
            outside the vocabulary; the message names the field.
    """

    model_type = "fas_audio"
    # FAS and the encoder are left out: dtype and attention of the LLM are not for them.
    sub_configs = {"text_config": AutoConfig}
    has_no_defaults_at_init = True

    def __init__(
        self,
        text_config: PreTrainedConfig | dict | None = None,
        fas_config: FASConfig | dict | None = None,
        encoder_config: WhisperConfig | dict | None = None,
        audio_tokens: str = "fused",
        audio_token_id: int | None = None,
        option_temperature: float = 1.0,
        transcripts: bool = False,
        cues: dict | None = None,
        base_language_model: str | None = None,
        base_revision: str | None = None,
        connector: dict | None = None,
        **kwargs: Any,
    ):
        # None only where transformers makes an empty one, to compare a model's with; whoever has a model has its parts
        self.text_config = cast(PreTrainedConfig, _text_config(text_config))
        self.fas_config = cast(FASConfig, FASConfig(**fas_config) if isinstance(fas_config, dict) else fas_config)
        whisper = WhisperConfig(**encoder_config) if isinstance(encoder_config, dict) else encoder_config
        self.encoder_config = cast(WhisperConfig, whisper)
        self.audio_tokens, self.audio_token_id = audio_tokens, audio_token_id
        self.connector = ConnectorConfig.from_dict(connector).to_dict() if self.hears_frames else connector
        self.option_temperature, self.transcripts, self.cues = option_temperature, transcripts, cues
        self.base_language_model, self.base_revision = base_language_model, base_revision
        if any(part is not None for part in (text_config, fas_config, encoder_config)):  # transformers makes empty ones
            self._check()
        kwargs.setdefault("tie_word_embeddings", getattr(self.text_config, "tie_word_embeddings", False))
        super().__init__(**kwargs)

    @property
    def audio_token(self) -> str:
        return AUDIO_TOKEN

    @property
    def streams(self) -> StreamConfig:
        return StreamConfig.from_dict(self.fas_config.streams or {})

    @property
    def hears_frames(self) -> bool:
        return self.audio_tokens in ("frames", "fused+frames")

    @property
    def connector_config(self) -> ConnectorConfig:
        return ConnectorConfig.from_dict(self.connector)

    @property
    def frame_sizes(self) -> dict[str, int]:
        """Width of the frames of each stream."""
        return {"semantic": self.fas_config.semantic_dim, "acoustic": self.fas_config.acoustic_dim}

    @property
    def tokens_per_window(self) -> int:
        """FAS's tokens of one window of up to 30 s, whatever its length; none where the LLM hears frames alone."""
        fas = self.fas_config
        if self.audio_tokens == "distilled":
            return fas.k_acoustic + fas.k_semantic
        if self.audio_tokens == "frames":
            return 0
        return fas.num_queries if fas.fusion == "query" and fas.learnable_queries else 1

    @property
    def window_tokens(self) -> WindowTokens:
        """Counts the audio tokens of a window."""
        streams = len(self.connector_config.streams) if self.hears_frames else 0
        return WindowTokens(self.tokens_per_window, streams, self.streams.patch_size)

    @property
    def audio_token_size(self) -> int:
        """Width of FAS's tokens that the projector reads."""
        is_pair = self.audio_tokens != "distilled" and self.fas_config.fusion == "concat"
        return self.fas_config.hidden_size * (2 if is_pair else 1)

    @property
    def hidden_size(self) -> int:
        """Width of the LLM."""
        return self.text_config.hidden_size

    @property
    def vocab_size(self) -> int:
        return self.text_config.vocab_size

    def to_diff_dict(self) -> dict:
        """What is written to a file: without the paths of this machine that the parts were loaded from, and without the
        quantisation that the LLM was loaded with, which is that of a run and not of the model.
        """
        values = super().to_diff_dict()
        for part in PARTS:
            for name in ("_name_or_path", "quantization_config"):
                (values.get(part) or {}).pop(name, None)
        return values

    def _check(self) -> None:
        for name in PARTS:
            _expect(name, getattr(self, name) is not None, "missing", "the configurations of LLM, FAS and Whisper")
        _expect("audio_tokens", self.audio_tokens in AUDIO_TOKENS, self.audio_tokens, f"one of {AUDIO_TOKENS}")
        token = self.audio_token_id
        is_inside = isinstance(token, int) and 0 <= token < self.text_config.vocab_size
        _expect("audio_token_id", is_inside, token, f"an id below vocab_size {self.text_config.vocab_size}")
        temperature = self.option_temperature
        is_positive = isinstance(temperature, int | float) and 0 < temperature < float("inf")
        _expect("option_temperature", is_positive, temperature, "a positive number")
        self._check_streams()
        if self.hears_frames:
            self.connector_config.width(self.frame_sizes)
        else:
            kind = f"null with audio_tokens {self.audio_tokens}, which hears no frames"
            _expect("connector", self.connector is None, self.connector, kind)

    def _check_streams(self) -> None:
        _expect("fas_config.streams", self.fas_config.streams is not None, None, "the encoders of the FAS checkpoint")
        streams = self.streams
        keys = [
            tuple(s.get(k) for k in ("type", "model", "revision", "adapter"))
            for s in (streams.acoustic, streams.semantic)
        ]
        paddings = {s.get("padding", "clip") for s in (streams.acoustic, streams.semantic)}
        shared = keys[0] == keys[1] and keys[0][0] == "whisper" and len(paddings) == 1
        names = [f"{s['type']} {s['model']}" for s in (streams.acoustic, streams.semantic)]
        _expect("fas_config.streams", shared, " and ".join(names), "two layers of one Whisper, with the same padding")
        window = self.encoder_config.max_source_positions
        expected = round(WINDOW_SECONDS * FRAMES_PER_SECOND)
        _expect("encoder_config.max_source_positions", window == expected, window, f"{expected} frames of 20 ms")


def _text_config(config: PreTrainedConfig | dict | None) -> PreTrainedConfig | None:
    if not isinstance(config, dict):
        return config
    config = dict(config)
    return AutoConfig.for_model(config.pop("model_type", "llama"), **config)


def _expect(name: str, is_right: bool, value: object, expected: str) -> None:
    if not is_right:
        raise CheckpointError(f"FASAudioConfig.{name}: {value}; expected {expected}")
