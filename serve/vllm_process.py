"""vLLM as a child process on a socket that only this user can reach."""

import asyncio
import contextlib
import json
import logging
import math
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import torch

from fas_alm.artifacts import WHISPER_FOLDER
from fas_alm.vllm.check import explain
from fas_core.audio import SAMPLE_RATE
from fas_core.errors import FASError
from fas_core.model_files import read_object
from fas_core.precision import describe, has_bf16
from fas_serve.child_log import ChildLog, PrivateLog
from fas_serve.settings import MIB, Settings

START_TIMEOUT = 900.0  # seconds; compiling a large model takes minutes
STOP_TIMEOUT = 15.0
RESTARTS = 3
NO_HOST = "no.host.invalid"  # with no host listed vLLM would fetch from all of them
LAST_LINES = 15
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM makes room for
VLLM_SHARE, SMALLEST_SHARE = 0.92, 0.1  # of a GPU's memory: vLLM's own default, and what is worth a try
FAS_ROOM = 2048 * MIB  # CUDA itself, and a batch of audio in FAS and in Whisper's decoder
FLOAT32 = 2  # bytes in memory for one in a file, which may be of half precision
log = logging.getLogger("serve")


class VLLMError(FASError):
    """vLLM did not start; the message holds the end of its log."""


class VLLMProcess:
    """Starts vLLM's own server, waits until it is healthy, starts it again when it dies.

    The socket lies in a directory that only this user may enter: vLLM's key guards some of its routes only, and every
    user of a machine can reach a port.

    Args:
        directory: a model directory of `fas_alm.export`.
        settings: whose limits vLLM is given too; the gateway has checked them before.
        arguments: further options of vLLM's server.
        eager: no compilation; starts faster and answers slower.
        log_file: what vLLM prints, without requests; by default a file in the private directory.

    Raises:
        FASError: a log file that cannot be written.
    """

    def __init__(
        self,
        directory: Path,
        settings: Settings,
        arguments: Sequence[str] = (),
        *,
        eager: bool = False,
        log_file: Path | None = None,
    ):
        self._private = tempfile.TemporaryDirectory(prefix="fas-vllm-")
        self.socket = Path(self._private.name) / "socket"
        self.log_file = log_file or Path(self._private.name) / "vllm.log"
        self._log = _opened(self.log_file)
        self.key = secrets.token_urlsafe(32)
        self._command = [sys.executable, "-m", "fas_serve.vllm_child"]
        self._command += vllm_arguments(directory, settings, self.socket, eager) + list(arguments)
        self._environment = vllm_environment(settings, self.key, eager)
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task | None = None
        self._reader: asyncio.Task | None = None
        self.ready = asyncio.Event()
        self.restarts = 0

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(self.socket), limits=httpx.Limits(max_connections=None)),
            base_url="http://vllm",
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=None,
        )

    async def start(self, progress: Callable[[float], None] = lambda seconds: None) -> None:
        """Returns when vLLM is healthy.

        Raises:
            VLLMError: it ended, or is not healthy in time.
        """
        await self._launch(progress)
        self._watcher = asyncio.create_task(self._watch())

    async def _launch(self, progress: Callable[[float], None]) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, env=self._environment, start_new_session=True,
        )  # fmt: skip
        printed = ChildLog(self._log)
        self._reader = asyncio.create_task(_read(self._process.stdout, printed))
        start = time.monotonic()
        async with self.client() as client:
            while not await _is_healthy(client):
                if self._process.returncode is not None:
                    await self._reader
                    raise VLLMError(self._why_it_ended())
                if time.monotonic() - start > START_TIMEOUT:
                    raise VLLMError(f"vLLM is not healthy after {START_TIMEOUT:.0f} s:\n{self.last_lines()}")
                progress(time.monotonic() - start)
                await asyncio.sleep(0.5)
        printed.asked = True
        self.ready.set()

    async def _watch(self) -> None:
        while True:
            status = await self._process.wait()
            self.ready.clear()
            self._signal(signal.SIGKILL)  # what is left of its group
            await self._reader
            log.error("vLLM ended with status %s:\n%s", status, self.last_lines())
            if self.restarts >= RESTARTS:
                log.error("vLLM was started %s times again; now it stays down", RESTARTS)
                return
            self.restarts += 1
            try:
                await self._launch(lambda seconds: None)
                log.warning("vLLM is up again")
            except VLLMError as error:
                log.error("%s", error)

    def _why_it_ended(self) -> str:
        status = self._process.returncode
        if status == -signal.SIGILL:
            return explain(status, "")
        return f"vLLM ended with status {status}:\n{self.last_lines()}"

    def last_lines(self) -> str:
        """The end of what vLLM printed."""
        try:
            lines = self.log_file.read_text(errors="replace").splitlines()
        except OSError:
            return "(no output)"
        return "\n".join(line[:300] for line in lines[-LAST_LINES:])

    async def stop(self) -> None:
        """Ends the whole process group, gently first."""
        if self._watcher is not None:
            self._watcher.cancel()
        self.ready.clear()
        if self._process is not None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT)
            self._signal(signal.SIGKILL)
            await self._process.wait()
            self._process = None  # its number may soon be another's
        self._log.close()
        self._private.cleanup()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def _opened(path: Path) -> PrivateLog:
    try:
        return PrivateLog(path)
    except OSError as error:
        raise FASError(f"--vllm-log {path}: cannot be written: {error.strerror or error}") from None


async def _read(stream: asyncio.StreamReader, printed: ChildLog) -> None:
    while data := await stream.read(65_536):
        printed.feed(data)


async def _is_healthy(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/health", timeout=5)).status_code == 200
    except httpx.HTTPError:
        return False


def vllm_arguments(directory: Path, settings: Settings, socket: Path, eager: bool) -> list[str]:
    """Options of vLLM's server: one model, one socket, no media from outside, as many audios as the gateway takes."""
    lora = directory / "lora"  # of fas_alm.export --no-merge: the public name is that of the adapter
    name = f"{settings.model}-base" if lora.is_dir() else settings.model
    arguments = [
        "--model", str(directory), "--served-model-name", name, "--uds", str(socket),
        "--limit-mm-per-prompt", json.dumps({"audio": settings.max_audios}),
        "--allowed-media-domains", NO_HOST, "--disable-uvicorn-access-log", "--disable-fastapi-docs",
        "--override-generation-config", json.dumps({"max_new_tokens": settings.max_tokens}),
        # Its cache of processed audio counts what was refused late (a bad schema) as sent to the engine, and then the
        # next request with the same audio fails (vLLM 0.32).
        "--mm-processor-cache-gb", "0",
    ]  # fmt: skip
    if lora.is_dir():
        rank = read_object(lora / "adapter_config.json")["r"]
        if rank > LORA_RANKS[-1]:
            raise FASError(
                f"{lora}: rank {rank}; vLLM takes at most {LORA_RANKS[-1]}: expected a merged model (export without --no-merge)"
            )
        rank = min(size for size in LORA_RANKS if size >= rank)
        arguments += ["--enable-lora", "--max-lora-rank", str(rank), "--lora-modules", f"{settings.model}={lora}"]
    if eager:
        arguments.append("--enforce-eager")
    if not torch.cuda.is_available():
        arguments += ["--dtype", _cpu_dtype(directory)]
    return arguments


def gpu_arguments(directory: Path) -> list[str]:
    """vLLM's share of a GPU on which FAS and Whisper lie too: what they leave, and no more than vLLM would take alone.

    Raises:
        FASError: too little is left.
    """
    free, total = torch.cuda.mem_get_info()
    files = [file for folder in ("fas", WHISPER_FOLDER) for file in (directory / folder).rglob("*.safetensors")]
    needed = FLOAT32 * sum(file.stat().st_size for file in files) + FAS_ROOM
    share = min(VLLM_SHARE, (free - needed) / total)
    if share < SMALLEST_SHARE:
        raise FASError(
            f"the GPU has {free / MIB:.0f} of {total / MIB:.0f} MiB free, and FAS with its Whisper needs {needed / MIB:.0f}: too "
            "little is left for vLLM; --device cpu takes FAS elsewhere, --vllm-arg=--gpu-memory-utilization=0.x decides"
        )
    return ["--gpu-memory-utilization", f"{share:.3f}"]


def _cpu_dtype(directory: Path) -> str:
    """That of the checkpoint where the processor multiplies it fast; vLLM's `auto` would round float32 to bfloat16."""
    config = read_object(directory / "config.json")
    text = config.get("text_config")
    stored = (text.get("dtype") if isinstance(text, dict) else None) or config.get("dtype")
    dtype = "float32" if stored in (None, "float32") or not has_bf16("cpu") else stored
    log.info("language model in %s", describe(dtype == "bfloat16", "cpu"))
    return dtype


def vllm_environment(settings: Settings, key: str, eager: bool) -> dict[str, str]:
    """This process's environment with vLLM's limits; the key travels here, where `ps` does not show it."""
    seconds = math.ceil(settings.audio.max_seconds) + 1
    size = seconds * SAMPLE_RATE * 4 + MIB  # of a float32 wav, which is what the gateway sends
    limits = {
        "VLLM_API_KEY": key,
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
        "VLLM_MAX_MEDIA_DOWNLOAD_SIZE_MB": "1",
        "VLLM_MAX_AUDIO_DECODE_DURATION_S": str(seconds),
        "VLLM_MAX_AUDIO_DECODE_BYTES": str(size),
        "VLLM_MAX_AUDIO_CLIP_FILESIZE_MB": str(math.ceil(size / MIB)),
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    defaults = {"OMP_WAIT_POLICY": "PASSIVE"}
    if not torch.cuda.is_available():
        defaults["VLLM_CPU_KVCACHE_SPACE"] = "1"  # GB
    if eager:
        defaults["TORCHDYNAMO_DISABLE"] = "1"  # else the first request with log-probabilities compiles for 10 s
    inherited = {k: v for k, v in os.environ.items() if k not in ("FAS_API_KEY", "VLLM_ALLOW_RUNTIME_LORA_UPDATING")}
    return defaults | inherited | limits
