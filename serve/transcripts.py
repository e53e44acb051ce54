"""What was said: Whisper's decoder on the frames that FAS's encoder pass gave, so that audio is encoded once.

FAS encodes a clip's real frames only; the decoder was trained on windows filled up to 30 s, and on bare frames it
says the sentence over and over. So the frames of a silent window, encoded once, stand behind those of the clip, and a
text that goes in circles is cut after its first round. A second encoder pass over the filled window makes fewer errors.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoTokenizer, StoppingCriteria, WhisperForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from fas_core.encoders.weights import LOADING_ERRORS
from fas_core.encoders.whisper import LAST, WhisperBackbone
from fas_core.errors import CheckpointError
from fas_core.hub import OFFLINE_PREFIX
from fas_core.model_files import check_model_files

SILENT_MEL = -0.85  # what the log-mel of padding is behind speech: 8 decades under its maximum, scaled by 1/4, plus 1
ROUNDS = 3  # copies of the same words in a row are no speech any more
PERIOD = 40  # tokens of what may be repeated
AT_ONCE = 4  # windows that are decoded together


class Transcriber:
    """Whisper's decoder over frames of the same Whisper's last layer.

    Args:
        directory: a Whisper with decoder and tokenizer, or "offline:NAME".
        backbone: the encoder whose frames will be given; its silence is encoded here.

    Raises:
        CheckpointError: no such Whisper, or one without tokenizer.
    """

    def __init__(self, directory: str | Path, backbone: WhisperBackbone):
        source = str(directory)
        if source.startswith(OFFLINE_PREFIX):
            from fas_core.encoders.offline import offline_whisper_dir

            source = str(offline_whisper_dir(source.removeprefix(OFFLINE_PREFIX)))
        try:
            check_model_files(source)
            self.tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            if len(self.tokenizer) <= len(self.tokenizer.all_special_tokens):  # made up where there are no files of one
                raise OSError("no tokenizer")
            model = WhisperForConditionalGeneration.from_pretrained(source, dtype=torch.float32, use_safetensors=True)
        except LOADING_ERRORS as error:
            raise CheckpointError(f"{directory}: no Whisper with decoder and tokenizer, so no transcripts") from error
        model.model.encoder = backbone.encoder  # one of the two is enough: of a Whisper large it is 2.5 GB
        self.model, self.backbone = model.eval().to(backbone.device), backbone
        self.model.generation_config.max_length = None  # the limit is given in new tokens:
        self.tokens = model.config.max_target_positions // 2  # of one window, as in Whisper's own code
        silence = torch.full((backbone.encoder.config.num_mel_bins, 2 * backbone.window), SILENT_MEL)
        self._silence = backbone.forward([silence], [LAST])[LAST][0]  # (window, D)

    @torch.no_grad()
    def __call__(self, clips: Sequence[Tensor]) -> list[str]:
        """The words in the (T, D) frames of the last layer of each clip, window by window, several windows at a time."""
        windows = [(i, window) for i, frames in enumerate(clips) for window in frames.split(self.backbone.window)]
        texts: list[list[str]] = [[] for _ in clips]
        for start in range(0, len(windows), AT_ONCE):
            batch = windows[start : start + AT_ONCE]
            for (clip, _), text in zip(batch, self._decode([window for _, window in batch]), strict=True):
                texts[clip].append(text)
        return [" ".join(filter(None, parts)) for parts in texts]

    def _decode(self, windows: list[Tensor]) -> list[str]:
        silence = self._silence
        filled = torch.stack([torch.cat([each.to(silence.device), silence[len(each) :]]) for each in windows])
        prompt = {"task": "transcribe"} if getattr(self.model.generation_config, "is_multilingual", False) else {}
        rows = self.model.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=filled), do_sample=False,
            max_new_tokens=self.tokens, stopping_criteria=[_GoesInCircles()], **prompt,
        )  # fmt: skip
        filling = {self.model.generation_config.pad_token_id, self.model.generation_config.eos_token_id}
        return [self._text(row, filling) for row in rows.tolist()]

    def _text(self, tokens: list[int], filling: set[int]) -> str:
        while tokens and tokens[-1] in filling:  # behind a row that ended before others
            tokens = tokens[:-1]
        return self.tokenizer.decode(without_circles(tokens), skip_special_tokens=True).strip()


class _GoesInCircles(StoppingCriteria):
    def __call__(self, input_ids, scores, **kwargs):
        done = [repeated_period(row.tolist()) is not None for row in input_ids]
        return torch.tensor(done, device=input_ids.device)


def repeated_period(tokens: list[int]) -> int | None:
    """How many tokens the end repeats `ROUNDS` times over, if it does."""
    for period in range(1, min(PERIOD, len(tokens) // ROUNDS) + 1):
        tail = tokens[-ROUNDS * period :]
        if tail == tail[:period] * ROUNDS:
            return period
    return None


def without_circles(tokens: list[int]) -> list[int]:
    """The tokens, with one round left of what the end repeats."""
    period = repeated_period(tokens)
    while period and tokens[-period:] == tokens[-2 * period : -period]:
        tokens = tokens[:-period]
    return tokens
