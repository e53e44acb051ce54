"""The process in which vLLM's server runs: `python -m serve.vllm_child OPTIONS OF VLLM`.

It ends with the gateway, however that ends: the gateway holds the other end of its standard input, and when that
closes the whole process group is stopped. An orphaned engine would keep its memory, on a GPU all of it.
"""

import os
import runpy
import signal
import sys
import threading
import time

from fas_alm.vllm.check import check

GRACE = 10.0  # seconds from SIGTERM to SIGKILL


def _end_with_parent() -> None:
    while sys.stdin.buffer.read(4096):
        pass
    os.killpg(0, signal.SIGTERM)
    time.sleep(GRACE)
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    check()  # in seconds, before a model is loaded
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
