"""vLLM in this process, as transformers is: for comparisons and for answers to many clips, without a server."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from fas_alm.configuration import FASAudioConfig

if TYPE_CHECKING:
    from vllm import LLM

ENVIRONMENT = {  # in this process, so that one process ends with the comparison
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}
TEXT, AUDIOS = 1024, 3  # tokens, and audios of a prompt


def start_vllm(directory: str | Path, lora: bool = False, **options) -> LLM:
    """vLLM in this process, eager and in float32.

    Args:
        directory: model directory.
        lora: whether it can serve adapters.
        options: of `vllm.LLM`.
    """
    os.environ |= ENVIRONMENT | os.environ
    from vllm import LLM

    from fas_alm.vllm import register

    register()
    defaults = {"dtype": "float32", "enforce_eager": True, "limit_mm_per_prompt": {"audio": AUDIOS}}
    defaults["max_model_len"] = longest_prompt(FASAudioConfig.from_pretrained(directory))
    return LLM(str(directory), **defaults | {"enable_lora": lora} | options)


def longest_prompt(config: FASAudioConfig) -> int:
    """Tokens of a prompt and its answer: text, and beside it whole windows of audio where each is hundreds of tokens."""
    window = config.window_tokens.of_window(config.encoder_config.max_source_positions)
    most = getattr(config.text_config, "max_position_embeddings", None) or math.inf
    return min(TEXT + (AUDIOS * window if config.hears_frames else 0), most)
