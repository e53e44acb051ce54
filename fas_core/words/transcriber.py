"""What was said: Whisper's decoder on the frames that FAS's encoder pass gave, so that audio is encoded once.

FAS encodes a clip's real frames only; the decoder was trained on windows filled up to 30 s, and on bare frames it says the
sentence over and over. So the frames of a silent window, encoded once, stand behind those of the clip, and a text that goes in
circles is cut after its first round. With a few seconds of silence the sentence still came twice at times, and single words of
TESS were wrong more often.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase, WhisperForConditionalGeneration

from fas_core.encoders.weights import LOADING_ERRORS
from fas_core.encoders.whisper import LAST, WhisperBackbone
from fas_core.errors import CheckpointError
from fas_core.hub import OFFLINE_PREFIX
from fas_core.model_files import check_model_files
from fas_core.words.decoding import GreedyDecoder, without_circles
from fas_core.words.prompts import ENGLISH, Prompts
from fas_core.words.transcript import ENGLISH_ONLY, Limits, Transcript, compression_ratio

SILENT_MEL = -0.85  # what the log-mel of padding is behind speech: 8 decades under its maximum, scaled by 1/4, plus 1
AT_ONCE = 4  # windows that are decoded together


@dataclass(frozen=True)
class _Window:
    """What the decoder said of one window."""

    text: str
    language: str
    language_probability: float
    no_speech: float
    log_probabilities: list[float]


class Transcriber:
    """Whisper's decoder over frames of the same Whisper's last layer.

    Args:
        directory: a Whisper with decoder and tokenizer, or "offline:NAME".
        backbone: the encoder whose frames will be given; its silence is encoded here.
        limits: what is refused; by default `Limits()`, of an English-only Whisper `ENGLISH_ONLY`.
        languages: codes of what the reader of the transcripts reads; where a Whisper is multilingual, others are translated into
            English.

    Raises:
        CheckpointError: no such Whisper, or one without tokenizer.
    """

    def __init__(
        self,
        directory: str | Path,
        backbone: WhisperBackbone,
        *,
        limits: Limits | None = None,
        languages: Collection[str] = (ENGLISH,),
    ):
        self.tokenizer, model = _load(directory)
        model.model.encoder = backbone.encoder  # one of the two is enough: of a Whisper large it is 2.5 GB
        self.backbone, self.languages = backbone, frozenset({ENGLISH, *languages})
        self.prompts = Prompts(self.tokenizer, model.generation_config)
        self.limits = limits or (Limits() if self.prompts.is_multilingual else ENGLISH_ONLY)
        silence = torch.full((backbone.encoder.config.num_mel_bins, 2 * backbone.window), SILENT_MEL)
        silence = backbone.forward([silence], [LAST])[LAST][0]  # (window, D)
        # the limit is that of one window, as in Whisper's own code
        limit = model.config.max_target_positions // 2
        self.decoder = GreedyDecoder(model.eval().to(backbone.device), silence, limit)

    @torch.inference_mode()
    def __call__(self, clips: Sequence[Tensor]) -> list[Transcript]:
        """Transcripts of clips by their (T, D) frames of the last layer; of long ones window by window, joined.

        What is said of a clip does not depend on the others.
        """
        transcripts = [self._judged(windows) for windows in self._decoded(clips)]
        foreign = [i for i, each in enumerate(transcripts) if each.english is None and each.unclear is None]
        if foreign and self.prompts.is_multilingual:
            languages = [transcripts[i].language for i in foreign]
            for i, windows in zip(foreign, self._decoded([clips[i] for i in foreign], languages), strict=True):
                transcripts[i] = replace(transcripts[i], english=self._reliable_translation(windows))
        return transcripts

    def _decoded(self, clips: Sequence[Tensor], translate: Sequence[str] | None = None) -> list[list[_Window]]:
        """Of each clip its windows; translated from the clips' languages, if these are given."""
        windows = [(clip, window) for clip, frames in enumerate(clips) for window in frames.split(self.backbone.window)]
        found = []
        for start in range(0, len(windows), AT_ONCE):
            batch = windows[start : start + AT_ONCE]
            languages = translate and [translate[clip] for clip, _ in batch]
            found += self._batch([window for _, window in batch], languages)
        counts, left = Counter(clip for clip, _ in windows), iter(found)
        return [list(islice(left, counts[clip])) for clip in range(len(clips))]

    def _batch(self, windows: list[Tensor], translate: list[str] | None) -> list[_Window]:
        cache, hidden = self.decoder.listen([window.to(self.backbone.device) for window in windows])
        heard = self.prompts.detect(self.decoder.head, hidden)
        languages = translate or [language for language, _ in heard]
        prompts = self.prompts.after_start(languages, "translate" if translate else "transcribe")
        said = self.decoder.decode(cache, torch.tensor(prompts, dtype=torch.long, device=hidden.device), hidden)
        no_speech = self.prompts.silence(self.decoder.head, hidden)
        return [
            _Window(self._text(each.tokens), language, probability, silent, each.log_probabilities)
            for each, (language, probability), silent in zip(said, heard, no_speech, strict=True)
        ]

    def _text(self, tokens: list[int]) -> str:
        return self.tokenizer.decode(without_circles(tokens), skip_special_tokens=True).strip()

    def _judged(self, windows: list[_Window]) -> Transcript:
        text = _text_of(windows)
        language = Counter(window.language for window in windows).most_common(1)[0][0]
        transcript = Transcript(
            text=text,
            language=language,
            confidence=_confidence(windows),
            language_probability=_mean([w.language_probability for w in windows if w.language == language]),
            no_speech=_mean([window.no_speech for window in windows]),
            compression_ratio=compression_ratio(text),
            english=text if language in self.languages else None,
        )
        return replace(transcript, unclear=self.limits.why_unclear(transcript))

    def _reliable_translation(self, windows: list[_Window]) -> str | None:
        text = _text_of(windows)
        is_sure = _confidence(windows) >= self.limits.translation
        return text if text and is_sure and compression_ratio(text) <= self.limits.compression_ratio else None


def _text_of(windows: list[_Window]) -> str:
    return " ".join(window.text for window in windows if window.text)


def _confidence(windows: list[_Window]) -> float:
    return math.exp(_mean([value for window in windows for value in window.log_probabilities]))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _load(directory: str | Path) -> tuple[PreTrainedTokenizerBase, WhisperForConditionalGeneration]:
    source = str(directory)
    if source.startswith(OFFLINE_PREFIX):
        from fas_core.encoders.offline import offline_whisper_dir

        source = str(offline_whisper_dir(source.removeprefix(OFFLINE_PREFIX)))
    try:
        check_model_files(source)
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        if len(tokenizer) <= len(tokenizer.all_special_tokens):  # made up where there are no files of one
            raise OSError("no tokenizer")
        model = WhisperForConditionalGeneration.from_pretrained(source, dtype=torch.float32, use_safetensors=True)
    except LOADING_ERRORS as error:
        raise CheckpointError(f"{directory}: no Whisper with decoder and tokenizer, so no transcripts") from error
    return tokenizer, model
