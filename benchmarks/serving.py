"""Serving with vLLM: our few audio tokens a window against Qwen2-Audio's 25 a second, on the same LLM.

    python -m benchmarks.serving [--quick]

Each model is served by vLLM in turn (`python -m vllm.entrypoints.openai.api_server`, on loopback, the same options) and
asked the same question about clips of 3 s and of 30 s by 1, 8 and 32 concurrent clients. A clip is sent once only, so
that no cache answers. CPU time of the server stands beside wall time: it does not count a busy machine. Every answer has the same number of tokens. The other model is vLLM's own
`Qwen2AudioForConditionalGeneration`, with an audio tower of our Whisper's dimensions and random weights: what is
compared is work, not quality (`benchmarks.serving_models`).
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path

import torch

from benchmarks.measure import exit_code, machine, run_modes, write_result
from benchmarks.serving_load import chat_request, excerpts, run_load, summarise, synthetic_speech
from benchmarks.serving_models import save_models
from benchmarks.serving_server import vllm_server
from fas_core.audio import load_audio
from fas_core.errors import FASError

MODELS = ("fas_alm", "qwen2_audio")
SECONDS = (3, 30)
LEVELS = {1: 4, 8: 16, 32: 32}  # concurrent clients -> requests
QUICK_LEVELS = {1: 1, 2: 2}
QUICK_LAYERS = 2
GOAL = 3  # times the requests per second, at 30 s clips
SERVER_OPTIONS = ("--max-model-len", "1024", "--max-num-seqs", "32")


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.serving", description=__doc__.splitlines()[0])
    parser.add_argument("--language-model", default="offline:smollm2", help="a Llama or Qwen2 (%(default)s)")
    parser.add_argument("--clip", type=Path, help="recording to cut the clips from; default: synthetic ones")
    parser.add_argument("--max-tokens", type=int, default=16, help="length of every answer (%(default)s)")
    parser.add_argument("--dtype", default="float32", help="of the language model (%(default)s)")
    parser.add_argument(
        "--enforce-eager", action="store_true", help="neither model is compiled; vLLM and our server compile by default"
    )
    parser.add_argument("--quick", action="store_true", help=f"smoke test: {QUICK_LAYERS} layers, few requests, eager")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks/serving.json"))
    return parser.parse_args(argv)


def check_plugin() -> None:
    """Raises `FASError` where vLLM, in a process of its own, would not find the plugin."""
    if not any(point.value == "fas_alm.vllm:register" for point in entry_points(group="vllm.general_plugins")):
        raise FASError("vLLM does not know fas_alm: expected the package to be installed (pip install -e .)")


def server_options(arguments: argparse.Namespace) -> list[str]:
    """Of vLLM's command line, the same for both models."""
    eager = ["--enforce-eager"] if arguments.enforce_eager or arguments.quick else []
    return ["--dtype", arguments.dtype, *SERVER_OPTIONS, *eager]


def measure_model(directory: Path, log: Path, arguments: argparse.Namespace) -> dict:
    """One model at every level of concurrency."""
    levels = QUICK_LEVELS if arguments.quick else LEVELS
    recording = load_audio(arguments.clip).samples if arguments.clip else None
    with vllm_server(directory, log, *server_options(arguments)) as server:
        results = []
        for seconds in SECONDS:
            warm_up = _bodies(directory, seconds, 2, 0, recording, arguments.max_tokens)
            asyncio.run(run_load(server.url, warm_up, 2))
            for clients, requests in levels.items():
                seed = 1000 * (len(results) + 1)
                bodies = _bodies(directory, seconds, requests, seed, recording, arguments.max_tokens)
                before = server.cpu_seconds()
                found = summarise(*asyncio.run(run_load(server.url, bodies, clients)))
                found["cpu_s_per_request"] = (server.cpu_seconds() - before) / requests
                results.append({"clip_seconds": seconds, "clients": clients, **found})
                print(f"{directory.name}: {seconds} s, {clients} clients: {found['requests_per_s']:.2f} requests/s")
        return {"start_s": server.start_seconds, "peak_memory_mb": server.peak_memory / 2**20, "levels": results}


def _bodies(directory: Path, seconds: float, number: int, seed: int, recording, max_tokens: int) -> list[dict]:
    clips = [
        synthetic_speech(seconds, seed + index) if recording is None else excerpts(recording, seconds, seed + index)
        for index in range(number)
    ]
    return [chat_request(str(directory), clip, max_tokens) for clip in clips]


def ratios(ours: dict, theirs: dict) -> list[dict]:
    """Of each level: how many times fewer prompt tokens, faster first tokens, more requests per second, less CPU."""
    return [
        {
            "clip_seconds": mine["clip_seconds"],
            "clients": mine["clients"],
            "prompt_tokens": other["prompt_tokens"] / mine["prompt_tokens"],
            "first_token": other["first_token_median_s"] / mine["first_token_median_s"],
            "requests_per_s": mine["requests_per_s"] / other["requests_per_s"],
            "cpu_time": other["cpu_s_per_request"] / mine["cpu_s_per_request"],
        }
        for mine, other in zip(ours["levels"], theirs["levels"], strict=True)
    ]


def measure(arguments: argparse.Namespace) -> dict:
    check_plugin()
    folder = Path(tempfile.mkdtemp(prefix="fas-serving-"))
    try:
        layers = QUICK_LAYERS if arguments.quick else None
        models = save_models(folder, arguments.language_model, layers)
        modes = {name: partial(measure_model, path, folder / f"{name}.log", arguments) for name, path in models.items()}
        return run_modes(modes, lambda found: write_result(arguments.output, as_result(found, arguments)))
    finally:
        shutil.rmtree(folder)


def as_result(measured: dict[str, dict], arguments: argparse.Namespace) -> dict:
    """What is there so far; how the two compare where both are."""
    whole = all("levels" in measured.get(name, {}) for name in MODELS)
    return {
        **measured,
        "times": ratios(*(measured[name] for name in MODELS)) if whole else [],
        "settings": {
            "language_model": arguments.language_model,
            "clips": "synthetic" if arguments.clip is None else arguments.clip.name,
            "max_tokens": arguments.max_tokens,
            "dtype": arguments.dtype,
            "quick": arguments.quick,
            "server_options": server_options(arguments),
            "vllm": _vllm_version(),
        },
        "machine": machine(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
    }


def _vllm_version() -> str:
    import vllm

    return vllm.__version__


def table(result: dict) -> str:
    """Markdown of all levels."""
    head = (
        "clip",
        "clients",
        "model",
        "prompt tokens",
        "first token, s",
        "answer, s",
        "requests/s",
        "times",
        "CPU, s",
        "times",
    )
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for index, times in enumerate(result["times"]):
        for name in MODELS:
            level = result[name]["levels"][index]
            cells = (
                f"{level['clip_seconds']} s", level["clients"], name, f"{level['prompt_tokens']:.0f}",
                f"{level['first_token_median_s']:.2f}", f"{level['answer_median_s']:.2f}",
                f"{level['requests_per_s']:.2f}", *_ours(name, times["requests_per_s"]),
                f"{level['cpu_s_per_request']:.2f}", *_ours(name, times["cpu_time"]),
            )  # fmt: skip
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _ours(name: str, times: float) -> tuple[str]:
    return (f"{times:.1f}" if name == "fas_alm" else "",)


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    try:
        measured = measure(arguments)
    except (FASError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if failed := exit_code(measured):
        return failed
    result = as_result(measured, arguments)
    print(table(result))
    memory = {name: result[name]["peak_memory_mb"] for name in MODELS}
    print("peak memory of the server, MB: " + ", ".join(f"{name} {mb:.0f}" for name, mb in memory.items()))
    for clock in ("requests_per_s", "cpu_time"):
        at_goal = [times[clock] for times in result["times"] if times["clip_seconds"] == 30]
        print(f"{clock} at 30 s clips: {min(at_goal):.1f} to {max(at_goal):.1f} times better (goal: {GOAL})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
