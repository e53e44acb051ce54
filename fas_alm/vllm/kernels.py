"""vLLM's kernels in the place of torch's for the audio side, whose linear layers and attention they make faster on a CPU.

Names, weights and types stay what they are, and so does the result, up to rounding.
"""

import functools
import warnings
from collections.abc import Sequence
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import AttentionInterface
from vllm.model_executor.layers.linear import ReplicatedLinear

from fas_core.encoders.whisper import packed_attention

CPU_ATTENTION = "fas_packed_vllm_cpu"  # as an attention implementation of transformers
BLOCK = 32  # keys and values of so many frames lie together: what the kernel's widest variant takes


def use_fast_linear(module: nn.Module, prefix: str) -> None:
    """Replace linear layers by vLLM's, of the same names, weights and type."""
    for name, layer in list(module.named_modules()):
        if isinstance(layer, nn.Linear):
            fast = ReplicatedLinear(
                layer.in_features,
                layer.out_features,
                bias=layer.bias is not None,
                params_dtype=layer.weight.dtype,
                prefix=f"{prefix}.{name}",
                return_bias=False,
            )
            module.set_submodule(name, fast)


def use_fast_attention(encoder: nn.Module) -> None:
    """Let Whisper's encoder attend through vLLM's CPU kernel, where it is on a CPU and the kernel takes its heads.

    The kernel is no public part of vLLM. Where it is not there, or computes something else, torch's attention stays, and one
    warning says so.
    """
    weight = encoder.conv1.weight
    heads = encoder.config.encoder_attention_heads
    if weight.device.type == "cpu" and _computes_attention(heads, encoder.config.d_model // heads):
        encoder.config._attn_implementation = CPU_ATTENTION


def _computes_attention(heads: int, size: int) -> bool:
    lengths = [3, BLOCK + 1]
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(3, 1, heads, sum(lengths), size, generator=generator)
    try:
        if size not in _kernel().head_sizes:
            return False
        found, _ = cpu_attention(None, *inputs, None, lengths=lengths)
        torch.testing.assert_close(
            found, packed_attention(None, *inputs, None, lengths=lengths)[0], atol=1e-4, rtol=1e-4
        )
    except (AssertionError, AttributeError, ImportError, NotImplementedError, RuntimeError, TypeError) as error:
        _warn(type(error).__name__)
        return False
    return True


@functools.cache
def _kernel() -> SimpleNamespace:
    """What is asked of vLLM's inner parts, which change without notice; raises what their absence raises."""
    from vllm import _custom_ops
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend, _get_attn_isa

    return SimpleNamespace(
        ops=_custom_ops, isa=_get_attn_isa, head_sizes=CPUAttentionBackend.get_supported_head_sizes()
    )


@functools.cache
def _warn(reason: str) -> None:
    warnings.warn(
        f"vLLM's CPU attention cannot be used here ({reason}); audio is encoded by torch's, more slowly", stacklevel=4
    )


def cpu_attention(module, query, key, value, attention_mask, scaling=None, *, lengths: Sequence[int], **kwargs):
    """Attention of each clip over itself, as `fas_core.encoders.whisper.packed_attention`.

    A clip's result is the same alone or among others: bit by bit with one thread, up to rounding with several.

    Args:
        query, key, value: (1, H, sum of lengths, d), float32 on a CPU.
        lengths: frames of each clip.

    Returns:
        (1, sum of lengths, H, d), and None for the weights.
    """
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))  # (sum of lengths, H, d)
    _, heads, size = query.shape
    ops, isa = _kernel().ops, _kernel().isa(query.dtype, BLOCK, size)
    blocks = [-(-length // BLOCK) for length in lengths]
    cache = query.new_zeros(sum(blocks), heads, 2 * BLOCK, size)  # the rest of a clip's last block stays zero
    keys, values = cache.chunk(2, dim=2)
    tables, slots = _places(lengths, blocks)
    ops.cpu_attn_reshape_and_cache(key, value, keys, values, slots, isa)
    sizes = torch.tensor(lengths, dtype=torch.int32)
    starts = pad(sizes.cumsum(0), (1, 0)).to(torch.int32)
    output = torch.empty(query.shape, dtype=query.dtype)
    plan = ops.cpu_attn_get_scheduler_metadata(
        num_reqs=len(lengths), num_heads=heads, num_kv_heads=heads, head_dim=size, seq_lens=sizes, dtype=query.dtype,
        query_start_loc=starts, causal=False, sliding_window_size=-1, isa=isa, enable_kv_split=False,
    )  # fmt: skip
    ops.cpu_attention_with_kv_cache(
        query=query, key_cache=keys, value_cache=values, output=output, query_start_loc=starts, seq_lens=sizes,
        scale=size**-0.5 if scaling is None else scaling, causal=False, alibi_slopes=None, sliding_window=-1,
        block_table=tables, softcap=0.0, scheduler_metadata=plan, s_aux=None,
    )  # fmt: skip
    return output[None], None


AttentionInterface.register(CPU_ATTENTION, cpu_attention)


def _places(lengths: Sequence[int], blocks: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Each clip's blocks (C, most blocks), one clip after the other, and the slot of each frame (sum of lengths,)."""
    tables = torch.zeros(len(blocks), max(blocks), dtype=torch.int32)
    slots, first = [], 0
    for row, length, count in zip(tables, lengths, blocks, strict=True):
        row[:count] = torch.arange(first, first + count)
        slots.append(torch.arange(length) + first * BLOCK)
        first += count
    return tables, torch.cat(slots)
