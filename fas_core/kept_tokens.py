"""When the tokens that the model listened to are heard."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fas_core.audio import SAMPLE_RATE

if TYPE_CHECKING:
    from fas_core.distillation import KeptTokens
    from fas_core.encoders.base import ClipFeatures


def kept_token_times(
    kept: KeptTokens, row: int, features: ClipFeatures, stream: str, frame_rate: float, patch_size: int
) -> list[dict]:
    """The kept tokens of one clip as {start, end, score}, seconds counted in the original file.

    Args:
        stream: "acoustic" or "semantic".
        frame_rate: of that stream's encoder, frames per second; encoders differ.
        patch_size: frames of a token. Nothing ends later than what the front end kept of the clip.
    """
    seconds = patch_size / frame_rate
    last = features.offset + getattr(features, f"{stream}_frames") / frame_rate
    last = min(last, features.front_end.get("end", math.inf) / SAMPLE_RATE)  # frames of slow encoders reach beyond it
    return [
        {
            "start": round(features.offset + i * seconds, 3),
            "end": round(min(features.offset + (i + 1) * seconds, last), 3),
            "score": round(s, 4),
        }
        for i, s, m in zip(kept.indices[row].tolist(), kept.scores[row].tolist(), kept.mask[row].tolist(), strict=True)
        if m
    ]
