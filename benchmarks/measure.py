"""What the benchmarks share: time, the machine's limits, and the JSON that they write."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from fas_core.atomic import write_text
from fas_core.attempts import attempt
from fas_core.provenance import provenance


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], object], device: torch.device = torch.device("cpu")) -> float:
    """Wall time of one call."""
    synchronise(device)
    start = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - start


def memory_bandwidth(device: torch.device, megabytes: int = 256, repeats: int = 7) -> float:
    """Bytes per second of the triad a = b + s c over float32 arrays far larger than any cache.

    Three arrays of `megabytes` each move once: two reads and a write; the read that a CPU does before it
    writes a line is not counted. The best of `repeats`, as in STREAM (McCalpin 1995).
    """
    a, b, c = (torch.ones(megabytes * 2**20 // 4, device=device) for _ in range(3))
    best = min(seconds_of(lambda: torch.add(b, c, alpha=3.0, out=a), device) for _ in range(repeats))
    return 3 * a.numel() * 4 / best


def matmul_rate(device: torch.device, size: int = 2048, repeats: int = 5) -> float:
    """Floating-point operations per second of a float32 matrix product, the best of `repeats`."""
    a, b = torch.ones(size, size, device=device), torch.ones(size, size, device=device)
    return 2 * size**3 / min(seconds_of(lambda: a @ b, device) for _ in range(repeats))


def latency(seconds: list[float]) -> dict[str, float]:
    """Median, 95th percentile and best of wall times, in milliseconds."""
    median, p95 = (float(value) for value in 1e3 * np.percentile(seconds, [50, 95]))
    return {"calls": len(seconds), "median_ms": median, "p95_ms": p95, "best_ms": 1e3 * min(seconds)}


def machine(device: torch.device) -> dict:
    """What was measured on, and how busy it was."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def write_result(path: Path, result: dict) -> None:
    """Write the result with its provenance, atomically, and say where."""
    text = json.dumps(rounded(result | {"provenance": provenance()}), indent=1)
    write_text(path, text + "\n")
    print(f"written: {path}")


def run_modes(modes: dict[str, Callable[[], dict]], save: Callable[[dict[str, dict]], None]) -> dict[str, dict]:
    """Mode -> its result, or {"error": why} of one that failed; the others go on, and `save` is given all that there is
    whenever one is done.
    """
    found: dict[str, dict] = {}
    for name, work in modes.items():
        result, why = attempt(name, work)
        found[name] = result if why is None else {"error": why}
        save(found)
    return found


def exit_code(found: dict[str, dict]) -> int:
    """1 where a mode failed."""
    return int(any("error" in result for result in found.values()))


def rounded(value):
    """Four significant digits are more than any of these measurements holds."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
