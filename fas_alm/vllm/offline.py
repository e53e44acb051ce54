"""vLLM in this process, as transformers is: for comparisons and for answers to many clips, without a server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vllm import LLM

ENVIRONMENT = {  # in this process, so that one process ends with the comparison
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}


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
    defaults = {"dtype": "float32", "enforce_eager": True, "max_model_len": 1024, "limit_mm_per_prompt": {"audio": 3}}
    return LLM(str(directory), **defaults | {"enable_lora": lora} | options)
