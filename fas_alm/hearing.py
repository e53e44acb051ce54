"""From an audio to the embeddings that the LLM reads in the place of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from fas_alm.configuration import FASAudioConfig
from fas_alm.projector import project
from fas_alm.tower import AudioTower, audio_tokens
from fas_core.errors import FASError
from fas_core.modeling_fas import FASForEmotionClassification


class HearsAudio:
    """The part of `FASAudioForConditionalGeneration` that hears: ids and audio in, embeddings out."""

    config: FASAudioConfig
    audio_tower: AudioTower
    fas: FASForEmotionClassification
    multi_modal_projector: nn.Module
    if TYPE_CHECKING:

        def get_input_embeddings(self) -> nn.Module: ...

    def embed(
        self,
        input_ids: Tensor,
        audio_mels: Sequence[Tensor] | None = None,
        audio_window_lengths: Sequence[Tensor] | None = None,
        audio_features: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """(B, L) ids -> (B, L, H) embeddings, those of the audio in their places. Arguments as in `forward`."""
        is_audio = input_ids.eq(cast(int, self.config.audio_token_id))
        embeddings = self.get_input_embeddings()(input_ids.masked_fill(is_audio, 0))
        audio = self._audio_rows(audio_mels, audio_window_lengths, audio_features)
        tokens, rows = int(is_audio.sum()), 0 if audio is None else len(audio)
        if tokens != rows:
            raise FASError(
                f"input_ids have {tokens} audio tokens for {rows} audio embeddings; expected the same number, as "
                "FASAudioProcessor counts them for each window of 30 s"
            )
        if audio is None:
            return embeddings
        return embeddings.masked_scatter(is_audio[..., None], audio.to(embeddings))

    def get_audio_features(self, audio_mels: Sequence[Tensor], audio_window_lengths: Sequence[Tensor]) -> list[Tensor]:
        """What the LLM reads of each audio: (its tokens, H) float32, as many as `config.window_tokens` counts.

        Args:
            audio_mels, audio_window_lengths: of each audio, as `FASAudioProcessor.prepare_audio` gives them.
        """
        rows, read = self.embed_windows(self.audio_tower(audio_mels, audio_window_lengths))
        sizes = [self.config.window_tokens.of_audio(lengths) for lengths in audio_window_lengths]
        return list(rows[read].split(sizes))

    def _audio_rows(
        self, mels: Sequence[Tensor] | None, lengths: Sequence[Tensor] | None, features: dict[str, Tensor] | None
    ) -> Tensor | None:
        """(tokens of all windows, H), or None without audio."""
        if features is None:
            if not mels or lengths is None:
                return None
            features = self.audio_tower(mels, lengths)
        rows, read = self.embed_windows(features)
        return rows[read]

    def embed_windows(self, features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What `AudioTower` gives of N windows -> (N, R, H) float32, and (N, R), False for what the LLM does not read (`project`)."""
        device = next(self.multi_modal_projector.parameters()).device
        features = {k: x.to(device, torch.float32 if x.is_floating_point() else x.dtype) for k, x in features.items()}
        kind = self.config.audio_tokens
        return project(self.multi_modal_projector, kind, *audio_tokens(self.fas, features, kind), features)
