"""Puts a server together: FAS, a backend, the gateway; and takes it down again."""

import asyncio
import contextlib
import importlib.util
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import uvicorn
from transformers.utils import logging as transformers_logging

from fas_core.errors import CheckpointError, FASError
from fas_core.hub import find_directory
from fas_core.kinds import kind_of, what_is
from fas_core.model_files import check_lora, check_model_files
from fas_core.pipeline import EmotionPipeline
from fas_core.shipped import find_shipped
from fas_core.speech import THRESHOLD
from fas_serve.app import create_app
from fas_serve.backend import Backend
from fas_serve.batching import Batcher
from fas_serve.connection import connection_options, raise_file_limit
from fas_serve.emotion import EmotionService
from fas_serve.guard import is_loopback, without_content
from fas_serve.listening import Listener
from fas_serve.settings import Settings
from fas_serve.vllm_process import VLLMError, VLLMProcess, gpu_arguments

log = logging.getLogger("serve")
WINDOWS_AT_ONCE = 4  # whose words are decoded together
GRACE = 30  # seconds for requests at work when the server is told to stop
MESSAGE_EVERY = 10.0  # seconds
KEY_VARIABLE = "FAS_API_KEY"
EXAMPLE = """
ready: {url} (model {model}, {backend})

  curl {url}/v1/emotion {header}-F file=@a.wav
{chat}
  /health /metrics /v1/models /docs; stop with Ctrl-C
"""
CHAT_EXAMPLE = '  python -m serve.chat a.wav "How does she feel, and do her words agree?" --url {url}\n'


@dataclass(frozen=True)
class Launch:
    """What is started.

    Attributes:
        directory: a FAS-ALM model directory; with `fas_only` also a FAS checkpoint, or None for the shipped one. Or the
            hub id of one, which `check` makes a directory.
        backend: auto, vllm or transformers.
        device: of FAS, and of the LLM with transformers; a GPU when there is one, if None.
        vllm_arguments, eager, vllm_log: see `VLLMProcess`.
        revision: branch, tag or commit of a hub id.
        transcript: tell the language model the words of an audio, where it has learned to read them.
        cues: tell it acoustic cues of an audio, which it has to have learned to read.
        speech_threshold, words, words_model, unsure_below: as of `EmotionPipeline.from_pretrained`.
    """

    directory: Path | None
    settings: Settings
    host: str = "127.0.0.1"
    port: int = 8000
    fas_only: bool = False
    backend: str = "auto"
    device: str | None = None
    vllm_arguments: tuple[str, ...] = ()
    eager: bool = False
    vllm_log: Path | None = None
    revision: str | None = None
    speech_threshold: float = THRESHOLD
    words: bool = True
    words_model: str | None = None
    transcript: bool = True
    unsure_below: float | None = None
    cues: bool = False

    @property
    def url(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host and '[' not in host else host}:{self.port}"


def check(launch: Launch) -> Launch:
    """The launch with a name for its model, and its directory where a hub id was given.

    Raises:
        FASError: no key for an address that others reach, no model directory, a hub that does not give it.
    """
    if not is_loopback(launch.host) and not launch.settings.api_key:
        raise FASError(
            f"--host {launch.host}: others can reach this address; expected an API key, in the environment variable "
            f"{KEY_VARIABLE} or as --api-key"
        )
    if launch.directory is None and not launch.fas_only:
        raise FASError("DIR is missing: expected a FAS-ALM model directory (python -m fas_alm.export), or --fas-only")
    directory = launch.directory
    if launch.fas_only and directory is not None and not directory.exists():
        directory = Path(find_shipped(str(directory)))
    directory = directory and find_directory(directory, launch.revision)
    if directory is not None and not (directory / "config.json").is_file():
        raise CheckpointError(
            f"{launch.directory}: no config.json; expected a model directory (python -m fas_alm.export), or its hub id"
        )
    if directory is not None:
        if kind_of(directory) not in (None, "fas_audio", "fas" if launch.fas_only else "fas_audio"):
            raise CheckpointError(
                f"{launch.directory}: expected a model directory (python -m fas_alm.export); {what_is(directory)}"
            )
        check_model_files(directory, quantised=True)  # whoever loads it next, vLLM too
        if (directory / "lora").is_dir():
            check_lora(directory / "lora")
    if launch.cues and launch.fas_only:
        raise FASError("--cues with --fas-only: there is no language model to tell them; expected one of the two")
    if launch.cues:
        cue_reader(directory)  # what is missing is told before anything is loaded
    name = launch.settings.model or (launch.directory.resolve().name if launch.directory else "fas")
    return replace(launch, directory=directory, settings=replace(launch.settings, model=name))


async def serve(launch: Launch, say: Callable[[str], None] = print) -> None:
    """Runs until it is told to stop.

    Raises:
        FASError: what `check` refuses, a model that cannot be loaded, or a backend that does not start.
        asyncio.CancelledError: told to stop before it was ready.
    """
    launch = check(launch)
    raise_file_limit()
    asyncio.get_running_loop().set_exception_handler(_tell_failure)
    with _signals() as signals:
        backend = None if launch.fas_only else await start_backend(launch, say)
        try:
            app = await asyncio.to_thread(build_app, launch, backend)
            signals.clear()
            await _run(app, launch, backend, say)
        finally:
            if backend is not None:
                await backend.close()


async def _run(app, launch: Launch, backend: Backend | None, say: Callable[[str], None]) -> None:
    server = uvicorn.Server(
        uvicorn.Config(
            app, host=launch.host, port=launch.port, timeout_graceful_shutdown=GRACE,
            **connection_options(launch.settings.connections),
        )
    )  # fmt: skip
    announcement = asyncio.create_task(_announce(server, launch, backend, say))
    try:
        await server.serve()
    except SystemExit:  # uvicorn's way to say that it cannot have the port
        raise FASError(f"--port {launch.port}: {launch.host} does not give it; is another server running?") from None
    finally:
        announcement.cancel()


@contextlib.contextmanager
def _signals() -> Iterator[list[asyncio.Task]]:
    """A signal cancels the tasks in the list: this one, until the list is cleared.

    That is for the start. uvicorn acts on signals itself while it runs, and raises them again after its graceful stop,
    when nothing is left to do.
    """
    tasks, loop = [asyncio.current_task()], asyncio.get_running_loop()

    def stop(*_) -> None:
        for task in tasks:
            loop.call_soon_threadsafe(task.cancel)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield tasks
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def build_app(launch: Launch, backend: Backend | None):
    """Gateway, FAS and the questions to the language model, for a backend that runs."""
    pipeline = load_fas(launch)
    listen = Batcher(Listener(pipeline), weigh=lambda question: question.audio.duration)
    read = pipeline.words_reader and Batcher(pipeline.words_reader, WINDOWS_AT_ONCE)
    language = None
    if backend is not None:
        from fas_serve.language import LanguageModel

        language = LanguageModel.from_directory(backend, launch.directory)
        language.transcripts &= launch.transcript
        language.cues = cue_reader(launch.directory) if launch.cues else None
    emotion = EmotionService(listen, language, read, pipeline.no_words)
    return create_app(launch.settings, emotion, backend, closing=[each for each in (listen, read) if each])


def cue_reader(directory: Path):
    """What measures the acoustic cues of clips, by the statistics of a model's training.

    Raises:
        FASError: a model that has not learned to read cues. MissingDependencyError: opensmile is not installed.
    """
    from fas_alm.artifacts import read_audio_config
    from fas_core.cues.acoustic import CueReader
    from fas_core.cues.levels import Statistics

    learned = read_audio_config(directory).cues
    if not learned:
        raise FASError(
            f"--cues: {directory.name} has not learned to read acoustic cues; expected a model trained with --cues true"
        )
    reader = CueReader(Statistics.from_dict(learned, f"{directory.name}/config.json: cues"))
    _ = reader.functionals  # a package that is missing is told at the start
    return reader


def load_fas(launch: Launch) -> EmotionPipeline:
    """FAS with a reader of words, of a model directory, of a FAS checkpoint, or as shipped."""
    options = {
        name: getattr(launch, name) for name in ("device", "speech_threshold", "words", "words_model", "unsure_below")
    }
    if launch.directory is not None and (launch.directory / "fas").is_dir():
        from fas_alm.artifacts import load_emotion_pipeline

        return load_emotion_pipeline(launch.directory, **options)
    return EmotionPipeline.from_pretrained(launch.directory, **options)


async def start_backend(launch: Launch, say: Callable[[str], None]) -> Backend:
    """vLLM where it can be had and this processor runs it, else transformers.

    Raises:
        FASError: vLLM was asked for and is missing or does not start.
    """
    if launch.backend != "transformers":
        if importlib.util.find_spec("vllm"):
            try:
                return await _start_vllm(launch, say)
            except VLLMError as error:
                if launch.backend == "vllm":
                    raise
                say(f"{error}\nvLLM did not start (above): going on with transformers, one request at a time")
        elif launch.backend == "vllm":
            raise FASError(
                "--backend vllm: vLLM is not installed; pip install 'fas-alm[vllm]', or --backend transformers"
            )
        else:
            say("vLLM is not installed: going on with transformers, one request at a time")
    from fas_serve.transformers_backend import TransformersBackend

    return await asyncio.to_thread(
        TransformersBackend.load, launch.directory, launch.device, launch.settings.max_tokens
    )


async def _start_vllm(launch: Launch, say: Callable[[str], None]) -> Backend:
    from fas_serve.vllm_backend import VLLMBackend

    process = VLLMProcess(
        launch.directory,
        launch.settings,
        [*_gpu_arguments(launch), *launch.vllm_arguments],
        eager=launch.eager,
        log_file=launch.vllm_log,
    )
    told = 0.0

    def progress(seconds: float) -> None:
        nonlocal told
        if seconds >= told:
            say(f"starting vLLM: {seconds:.0f} s")
            told += MESSAGE_EVERY

    try:
        await process.start(progress)
    except BaseException:
        await process.stop()
        raise
    return VLLMBackend(process, launch.settings.model)


def _gpu_arguments(launch: Launch) -> list[str]:
    chosen = any(argument.startswith("--gpu-memory-utilization") for argument in launch.vllm_arguments)
    beside = torch.cuda.is_available() and not str(launch.device or "cuda").startswith("cpu")
    return gpu_arguments(launch.directory) if beside and not chosen else []


async def _announce(server: uvicorn.Server, launch: Launch, backend: Backend | None, say) -> None:
    while not server.started:
        await asyncio.sleep(0.05)
    launch = replace(launch, port=server.servers[0].sockets[0].getsockname()[1])  # where any was asked for
    key = f"-H 'Authorization: Bearer ${KEY_VARIABLE}' " if launch.settings.api_key else ""
    chat = CHAT_EXAMPLE.format(url=launch.url) if backend else ""
    name = backend.name if backend else "FAS only"
    say(EXAMPLE.format(url=launch.url, model=launch.settings.model, backend=name, header=key, chat=chat))


def _tell_failure(loop: asyncio.AbstractEventLoop, context: dict) -> None:
    """asyncio's own handler would print the error's message, which may quote a request."""
    error = context.get("exception")
    log.error("%s\n%s", context["message"], without_content(error) if error else "")


def configure_logging(level: str) -> None:
    """One line an event on standard error; of what reads requests only errors: it warns of each that is none."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("serve").setLevel(level.upper())
    for name in ("uvicorn", "python_multipart"):
        logging.getLogger(name).setLevel(logging.ERROR)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
