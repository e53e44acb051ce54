"""Whether vLLM's own kernels run on this processor: a wheel may be built for wider vectors than a CPU has.

An instruction that a processor lacks ends its process, so the question is asked of another one: `problem()`, or
`python -m fas_alm.vllm.check`.
"""

import signal
import subprocess
import sys

SECONDS = 120


def check() -> None:
    """Compute something small by the kernels that vLLM chooses for this machine; on a GPU there is nothing to ask.

    Raises:
        RuntimeError: there are none, or they compute something else.
    """
    import torch

    if torch.cuda.is_available():
        return
    from vllm.platforms import current_platform

    current_platform.import_kernels()
    if not hasattr(torch.ops._C, "rms_norm"):
        raise RuntimeError("vLLM has no kernels for this processor")
    rows, normed = torch.ones(2, 64), torch.empty(2, 64)
    torch.ops._C.rms_norm(normed, rows, torch.ones(64), 1e-6)
    if not torch.allclose(normed, rows, atol=1e-3):
        raise RuntimeError("vLLM's kernels compute wrong results on this processor")


def problem() -> str | None:
    """Why vLLM cannot run here, or None where it can."""
    command = [sys.executable, "-m", "fas_alm.vllm.check"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"vLLM's kernels did not load within {SECONDS} s"
    return explain(done.returncode, done.stderr) if done.returncode else None


def explain(status: int, output: str) -> str:
    """What an exit status of a process with vLLM's kernels says, with the last line that it printed."""
    if status == -signal.SIGILL:
        return "vLLM's kernels need instructions that this processor does not have"
    last = output.strip().splitlines()[-1:] or [f"the check ended with status {status}"]
    return f"vLLM's kernels do not run here: {last[0]}"


if __name__ == "__main__":
    check()
