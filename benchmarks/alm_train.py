"""Throughput of adapter training at an LLM's dimensions, with random weights: `python -m benchmarks.alm_train`.

LoRA and projector against the full LLM, with what `train/alm_adapter.py` runs in a step: embeddings of text and of FAS's
tokens, loss on answers, AdamW. Each with prompts computed row by row, and with the question computed once a batch.

Model FLOP utilisation (Chowdhery et al. 2022) is the share of the device's bf16 matrix product rate, which the same run
measures, that the step needs by arithmetic: 2 FLOPs a weight and token forward, 2 for the gradient of its input, 2 for that
of a weight that is trained, and the two products of attention; nothing for what checkpointing computes again. The default
is Qwen2.5-7B; `--quick` is a toy for a CPU, to see that it runs.
"""

import argparse
import sys
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from benchmarks.measure import exit_code, machine, run_modes, seconds_of, write_result
from fas_alm.projector import MultiModalProjector
from fas_alm.training.answer_model import AnswerModel

AUDIO_WIDTH, AUDIO_TOKENS, OPTIONS, ANSWER = 512, 2, list(range(10, 17)), 2
MODES = ("lora", "full")


@dataclass(frozen=True)
class Size:
    """Dimensions of the LLM; the default is Qwen2.5-7B (Yang et al. 2024)."""

    hidden_size: int = 3584
    intermediate_size: int = 18944
    num_hidden_layers: int = 28
    num_attention_heads: int = 28
    num_key_value_heads: int = 4
    vocab_size: int = 152064


QUICK = Size(64, 128, 2, 4, 2, 512)


def build(size: Size, mode: str, device: torch.device, dtype: torch.dtype, checkpointing: bool) -> AnswerModel:
    """The module that is trained, with random weights."""
    config = AutoConfig.for_model("qwen2", **asdict(size), tie_word_embeddings=False, use_cache=False)
    with torch.device(device):
        llm = AutoModelForCausalLM.from_config(config, dtype=dtype)
        projector = MultiModalProjector(AUDIO_WIDTH, size.hidden_size)
    if mode == "lora":
        llm.requires_grad_(False)
        llm = get_peft_model(
            llm, LoraConfig(r=8, lora_alpha=32, lora_dropout=0.1, target_modules="all-linear", task_type="CAUSAL_LM")
        )
    parts = SimpleNamespace(
        multi_modal_projector=projector, language_model=llm,
        config=SimpleNamespace(audio_tokens="fused", audio_token_id=size.vocab_size - 1),
    )  # fmt: skip
    answers = AnswerModel(parts, OPTIONS).train()
    if checkpointing:
        answers.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return answers


def batch(
    size: Size, rows: int, prefix: int, suffix: int, share: bool, device: torch.device
) -> dict[str, torch.Tensor]:
    """Conversations: a question of `prefix` tokens, the audio, the end of the turn, and the answer."""
    head = torch.randint(20, size.vocab_size - 1, (1, prefix), device=device)
    tail = torch.randint(20, size.vocab_size - 1, (rows, suffix), device=device)
    tail[:, :AUDIO_TOKENS] = size.vocab_size - 1
    made = {
        "input_ids": tail if share else torch.cat([head.expand(rows, -1), tail], 1),
        "attention_mask": torch.ones(rows, prefix + suffix, dtype=torch.long, device=device),
        "labels": torch.randint(20, size.vocab_size - 1, (rows, ANSWER), device=device),
        "audio_tokens": torch.randn(rows, AUDIO_TOKENS, AUDIO_WIDTH, device=device),
        "audio_mask": torch.ones(rows, AUDIO_TOKENS, dtype=torch.bool, device=device),
    }
    return made | ({"prefix_ids": head} if share else {})


def flops(size: Size, answers: AnswerModel, rows: int, prefix: int, suffix: int, share: bool, mode: str) -> float:
    """Of one step, by arithmetic."""
    per_weight = 4 if mode == "lora" else 6
    groups = size.num_key_value_heads / size.num_attention_heads
    attention = size.hidden_size**2 * (2 + 2 * groups)
    layer = attention + 3 * size.hidden_size * size.intermediate_size
    tokens = prefix + rows * suffix if share else rows * (prefix + suffix)
    trained = sum(p.numel() for n, p in answers.named_parameters() if p.requires_grad and "lora_" in n)
    pairs = rows * (prefix * suffix + suffix**2 / 2) + (1 if share else rows) * prefix**2 / 2  # causal
    products = 4 * size.hidden_size * pairs * size.num_hidden_layers * 3  # two products; twice that backward
    head = per_weight * size.hidden_size * size.vocab_size * rows * ANSWER
    return per_weight * layer * size.num_hidden_layers * tokens + 6 * trained * tokens + products + head


def measure(
    size: Size, mode: str, share: bool, arguments: argparse.Namespace, device: torch.device, rate: float
) -> dict:
    """One row of the result."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    checkpointing = arguments.checkpointing and not share
    torch.manual_seed(0)
    answers = build(size, mode, device, dtype, checkpointing)
    trained = [p for p in answers.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, 1e-5, fused=device.type == "cuda")
    data = batch(size, arguments.batch, arguments.question, arguments.rest, share, device)

    def step() -> None:
        with torch.autocast(device.type, dtype, enabled=dtype == torch.bfloat16):
            loss = answers(**data)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(arguments.warmup):
        step()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = seconds_of(lambda: [step() for _ in range(arguments.steps)], device) / arguments.steps
    needed = flops(size, answers, arguments.batch, arguments.question, arguments.rest, share, mode)
    conversation = arguments.question + arguments.rest
    return {
        "mode": mode, "shared_question": share, "checkpointing": checkpointing, "seconds_a_step": seconds,
        "conversations_per_second": arguments.batch / seconds,
        "tokens_per_second": arguments.batch * conversation / seconds,  # of the conversations, computed or shared
        "tflops_per_second": needed / seconds / 1e12, "mfu": needed / seconds / rate,
        "trained_parameters": sum(p.numel() for p in trained),
        "peak_gib": torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None,
    }  # fmt: skip


def product_rate(device: torch.device, size: int) -> float:
    """FLOPs per second of a matrix product in the type that is trained in; the best of five."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / min(seconds_of(lambda: a @ b, device) for _ in range(5))


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.alm_train", description=__doc__.splitlines()[0])
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=MODES)
    parser.add_argument("--batch", type=int, default=64, help="conversations of a step (%(default)s)")
    parser.add_argument("--question", type=int, default=64, help="tokens before the audio (%(default)s)")
    parser.add_argument("--rest", type=int, default=64, help="tokens from the audio on, answer included (%(default)s)")
    parser.add_argument("--warmup", type=int, default=3, help="steps that are not measured (%(default)s)")
    parser.add_argument("--steps", type=int, default=10, help="steps measured (%(default)s)")
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing, where nothing is shared")
    parser.add_argument("--quick", action="store_true", help="a toy, for a CPU")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks/alm_train.json"))
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code: 0; 1 where a mode failed, whose row then says why; 2 without a GPU and without --quick."""
    arguments = parse_arguments(argv)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and not arguments.quick:
        print("error: no GPU here; --quick runs a toy on the CPU", file=sys.stderr)
        return 2
    size = QUICK if arguments.quick else Size()
    rate = product_rate(device, 512 if arguments.quick else 8192)
    settings = {k: v for k, v in vars(arguments).items() if k != "output"}
    result = {"llm": asdict(size), "settings": settings, "product_flops_per_second": rate, "machine": machine(device)}
    rows = {
        title(mode, share): {"mode": mode, "shared_question": share}
        for mode in arguments.modes
        for share in (False, True)
    }

    def run(row: dict) -> dict:
        measured = measure(size, row["mode"], row["shared_question"], arguments, device, rate)
        print(describe(measured), flush=True)
        if device.type == "cuda":
            torch.cuda.empty_cache()
        return measured

    def save(found: dict[str, dict]) -> None:
        write_result(arguments.output, result | {"rows": [rows[name] | measured for name, measured in found.items()]})

    return exit_code(run_modes({name: partial(run, row) for name, row in rows.items()}, save))


def title(mode: str, share: bool) -> str:
    return f"{mode}{', shared question' if share else ''}"


def describe(row: dict) -> str:
    return (
        f"{title(row['mode'], row['shared_question'])}: {row['tokens_per_second']:.0f} tokens/s, "
        f"{row['conversations_per_second']:.1f} conversations/s, {row['tflops_per_second']:.2f} TFLOP/s, MFU {100 * row['mfu']:.1f} %"
    )


if __name__ == "__main__":
    sys.exit(main())
