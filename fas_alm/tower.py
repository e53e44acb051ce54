"""From log-mels to FAS's tokens. Pure torch: the model of transformers and that of vLLM share it."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers.models.whisper.modeling_whisper import WhisperEncoder as WhisperModule

from fas_alm.configuration import FASAudioConfig
from fas_core.distillation import KeptTokens
from fas_core.encoders.products import use_onednn
from fas_core.encoders.whisper import PACKED_ATTENTION, WhisperBackbone, WhisperEncoder
from fas_core.errors import FASError
from fas_core.features.patches import frame_deviation, patchify
from fas_core.modeling_fas import FASForEmotionClassification


class AudioTower(nn.Module):
    """Whisper's encoder: log-mels of windows to the patches of both streams, as `FeatureExtractor` gives them.

    A window's patches do not depend on the other windows. Frozen, and always in float32.

    Args:
        config: of the whole model.
        encoder: an encoder of that configuration with packed attention; a new one if None.
    """

    def __init__(self, config: FASAudioConfig, encoder: nn.Module | None = None):
        super().__init__()
        streams = config.streams
        self.patch_size = streams.patch_size
        self.encoder = _new_encoder(config) if encoder is None else encoder
        self.encoder.eval().requires_grad_(False)
        backbone = WhisperBackbone.from_module(self.encoder)
        self.streams = {
            name: WhisperEncoder(backbone, layer=s.get("layer", "last"), padding=s.get("padding", "clip"))
            for name, s in (("acoustic", streams.acoustic), ("semantic", streams.semantic))
        }

    def forward(self, mels: Sequence[Tensor], window_lengths: Sequence[Tensor]) -> dict[str, Tensor]:
        """FAS's inputs of every window of every audio, in order.

        Args:
            mels: of each audio, its windows side by side: (M, sum of 2T_w), each with its real frames only, or
                (M, 3000 W) where the encoder pads its windows to 30 s.
            window_lengths: of each audio, (W,) real mel frames 2T_w of its windows.

        Returns:
            `acoustic`, `semantic` (N, P, D), their masks (N, P) and deviations (N, D); N is the number of all windows.

        Raises:
            FASError: mel frames that the lengths do not explain.
        """
        windows = [w for mel, lengths in zip(mels, window_lengths, strict=True) for w in self._split(mel, lengths)]
        frames = [int(n) // 2 for lengths in window_lengths for n in lengths]
        acoustic, semantic = self.streams["acoustic"], self.streams["semantic"]
        layers = sorted({*acoustic.layers, *semantic.layers})
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            encoded = acoustic.encode_mels(lambda i: windows[i].float(), frames, layers)
            return self._inputs("acoustic", encoded) | self._inputs("semantic", encoded)

    @property
    def device(self) -> torch.device:
        return self.encoder.conv1.weight.device

    def _split(self, mel: Tensor, lengths: Tensor) -> Sequence[Tensor]:
        """The windows of one audio."""
        real = [int(n) for n in lengths]
        window = 2 * self.encoder.config.max_source_positions
        sizes = real if self.streams["acoustic"].padding == "clip" else [window] * len(real)
        if mel.shape[-1] != sum(sizes) or any(n < 2 or n % 2 or n > window for n in real):
            raise FASError(
                f"audio_mels: {mel.shape[-1]} mel frames for windows of {real}; expected {sum(sizes)}, and each window "
                f"even and at most {window} (use FASAudioProcessor.prepare_audio)"
            )
        return mel.split(sizes, dim=-1)

    def _inputs(self, name: str, encoded: dict[int, list[Tensor]]) -> dict[str, Tensor]:
        layers = self.streams[name].layers
        windows = [torch.cat(parts, -1) for parts in zip(*(encoded[i] for i in layers), strict=True)]  # (T, D)
        patches = [patchify(frames, self.patch_size) for frames in windows]  # (P, D)
        mask = pad_sequence([torch.ones(len(p), dtype=torch.bool, device=p.device) for p in patches], True)
        deviation = torch.stack([frame_deviation(frames) for frames in windows])
        return {name: pad_sequence(patches, True), f"{name}_mask": mask, f"{name}_deviation": deviation}


def _new_encoder(config: FASAudioConfig) -> nn.Module:
    encoder_config = copy.deepcopy(config.encoder_config)
    encoder_config._attn_implementation = PACKED_ATTENTION
    return use_onednn(WhisperModule(encoder_config))


def audio_tokens(
    fas: FASForEmotionClassification, inputs: dict[str, Tensor], kind: str
) -> tuple[Tensor | None, Tensor | None]:
    """What the projector reads of each window, frames apart.

    Args:
        fas: the FAS of the model.
        inputs: of `AudioTower.forward`, N windows.
        kind: `FASAudioConfig.audio_tokens`.

    Returns:
        (N, K, d) tokens and (N, K) mask; where it is False a short window had no more tokens, and zeros stand in. None and
        None where the LLM hears frames alone, and FAS is not asked.
    """
    if kind == "frames":
        return None, None
    with torch.autocast(inputs["acoustic"].device.type, enabled=False):  # top-k by norm flips in low precision
        output = fas.fas(**inputs)
        if kind != "distilled":
            return output.fused, torch.ones(output.fused.shape[:2], dtype=torch.bool, device=output.fused.device)
        sizes = {"acoustic": fas.config.k_acoustic, "semantic": fas.config.k_semantic}
        kept = [_exactly(getattr(output, f"{s}_kept"), k, fas.fas.token_norm[s]) for s, k in sizes.items()]
    tokens, masks = zip(*kept, strict=True)
    return torch.cat(tokens, 1), torch.cat(masks, 1)


def _exactly(kept: KeptTokens, k: int, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """k tokens (B, k, d) and their mask: the highest scores where more were kept (selection "all"), zeros for fewer."""
    tokens, mask, scores = kept.tokens, kept.mask, kept.scores
    if tokens.shape[1] > k:
        best = scores.masked_fill(~mask, -torch.inf).topk(k, dim=1).indices.sort(dim=1).values  # in order of time
        tokens, mask = tokens.gather(1, best[..., None].expand(-1, -1, tokens.shape[-1])), mask.gather(1, best)
    missing = k - tokens.shape[1]
    tokens = nn.functional.pad(norm(tokens) * mask[..., None], (0, 0, 0, missing))
    return tokens, nn.functional.pad(mask, (0, missing))
