"""The command `fas serve`, which is `python -m serve`."""

import asyncio
import os
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from fas_core.audio import AudioLimits
from fas_core.cli.app import INTERRUPTED, App, run
from fas_core.errors import MissingDependencyError
from fas_core.words.options import WordsModelOption, WordsOption
from fas_serve.settings import ConnectionLimits, Settings

LIMITS = "Limits"
DEFAULTS, AUDIO = Settings(), Settings().audio


class BackendName(str, Enum):
    auto, vllm, transformers = "auto", "vllm", "transformers"


class Level(str, Enum):
    info, warning, error = "info", "warning", "error"


app = App()


@app.command()
def main(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR",
            help="model directory of fas export, or hub id; with --fas-only a FAS checkpoint, base or tiny.en",
        ),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="of a hub id: branch, tag or commit")] = None,
    fas_only: Annotated[bool, typer.Option("--fas-only", help="no language model: /v1/emotion alone, light")] = False,
    host: Annotated[str, typer.Option(help="address; any but loopback needs an API key")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any that is free")] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="FAS_API_KEY", help="clients send it as bearer token; better in the environment"),
    ] = None,
    name: Annotated[str | None, typer.Option(help="name in /v1/models; default: that of DIR")] = None,
    backend: Annotated[
        BackendName, typer.Option(help="auto: vLLM, or transformers where there is none")
    ] = BackendName.auto,
    device: Annotated[str | None, typer.Option(help="of FAS, and of the LLM with transformers: cpu or cuda")] = None,
    enforce_eager: Annotated[
        bool, typer.Option("--enforce-eager", help="vLLM without compilation: starts faster")
    ] = False,
    vllm_arg: Annotated[
        list[str] | None, typer.Option(help="option passed on to vLLM, e.g. --vllm-arg=--max-model-len=4096; repeat")
    ] = None,
    vllm_log: Annotated[
        Path | None, typer.Option(help="file for what vLLM prints, without requests; default: shown only when it fails")
    ] = None,
    speech_threshold: Annotated[
        float, typer.Option(help="probability from which sound is speech; 0: every sound is given an emotion")
    ] = 0.5,
    unsure_below: Annotated[
        float | None,
        typer.Option(
            help="an answer is unsure where it is less probable that it is right; 0: none is; default: what the checkpoint says"
        ),
    ] = None,
    words: WordsOption = True,
    words_model: WordsModelOption = None,
    transcript: Annotated[
        bool,
        typer.Option(
            "--transcript/--no-transcript", help="tell the language model the words, where it has learned to read them"
        ),
    ] = True,
    cues: Annotated[
        bool,
        typer.Option(
            "--cues/--no-cues",
            help="tell the language model acoustic cues, which it has to have learned; needs fas-alm[egemaps]",
        ),
    ] = False,
    log_level: Annotated[Level, typer.Option(help="info: a line for each request, never its content")] = Level.info,
    max_seconds: Annotated[
        float, typer.Option(help="of one audio that the language model hears", rich_help_panel=LIMITS)
    ] = AUDIO.max_seconds,
    max_bytes: Annotated[int, typer.Option(help="of one audio file", rich_help_panel=LIMITS)] = AUDIO.max_bytes,
    max_decoded_bytes: Annotated[
        int, typer.Option(help="that one audio decodes to, as float32", rich_help_panel=LIMITS)
    ] = int(AUDIO.max_decoded_bytes),
    max_recording_seconds: Annotated[
        float, typer.Option(help="of the clips of one /v1/emotion request together", rich_help_panel=LIMITS)
    ] = DEFAULTS.recording.max_seconds,
    max_audios: Annotated[int, typer.Option(help="of one chat request", rich_help_panel=LIMITS)] = DEFAULTS.max_audios,
    max_clips: Annotated[
        int, typer.Option(help="of one /v1/emotion request", rich_help_panel=LIMITS)
    ] = DEFAULTS.max_clips,
    max_text: Annotated[
        int, typer.Option(help="characters of a chat request without audio", rich_help_panel=LIMITS)
    ] = DEFAULTS.max_text,
    max_tokens: Annotated[int, typer.Option(help="of one answer", rich_help_panel=LIMITS)] = DEFAULTS.max_tokens,
    max_body_bytes: Annotated[
        int, typer.Option(help="of one request in JSON", rich_help_panel=LIMITS)
    ] = DEFAULTS.max_body_bytes,
    max_upload_bytes: Annotated[
        int, typer.Option(help="of one request with files, which go to the disk", rich_help_panel=LIMITS)
    ] = DEFAULTS.max_upload_bytes,
    memory_budget: Annotated[
        int, typer.Option(help="bytes that all requests may hold in memory; the next gets 429", rich_help_panel=LIMITS)
    ] = DEFAULTS.memory_budget,
    disk_budget: Annotated[
        int, typer.Option(help="the same of uploads on the disk, in $TMPDIR", rich_help_panel=LIMITS)
    ] = DEFAULTS.disk_budget,
    clips_budget: Annotated[
        int, typer.Option(help="clips of all requests", rich_help_panel=LIMITS)
    ] = DEFAULTS.clips_budget,
    max_connections: Annotated[
        int, typer.Option(help="at once; the longest idle one makes room for a new one", rich_help_panel=LIMITS)
    ] = DEFAULTS.connections.connections,
    concurrency: Annotated[
        int, typer.Option(help="requests worked on at once", rich_help_panel=LIMITS)
    ] = DEFAULTS.concurrency,
    queue: Annotated[
        int, typer.Option(help="requests that wait; the next gets 429", rich_help_panel=LIMITS)
    ] = DEFAULTS.queue,
    request_timeout: Annotated[
        float, typer.Option(help="seconds until 504, of a recording without a new piece", rich_help_panel=LIMITS)
    ] = DEFAULTS.request_timeout,
    allowed_media_hosts: Annotated[
        list[str] | None,
        typer.Option(help="host from which audio_url may be fetched; repeat; default: none", rich_help_panel=LIMITS),
    ] = None,
) -> None:
    """Serve a FAS-ALM model: chat about speech in OpenAI's API, and /v1/emotion.

    Examples:

      fas serve exported/            vLLM behind a gateway on http://127.0.0.1:8000

      fas serve --fas-only           emotion, tone and words without a language model

      FAS_API_KEY=... fas serve exported/ --host 0.0.0.0

    Then: fas chat a.wav "How does she feel?", or http://127.0.0.1:8000/docs for the routes.

    Ctrl-C lets requests at work finish, for up to 30 seconds. Exit code: 0; 2 when it could not be started; 130 when it was stopped while it started.
    """
    try:
        from fas_serve.launch import Launch, configure_logging, serve
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"the package {error.name} is missing: pip install 'fas-alm[serve]'") from None
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin while they wait starve the others
    settings = Settings(
        model=name or "", api_key=api_key or None,
        audio=AudioLimits(max_bytes=max_bytes, max_seconds=max_seconds, max_decoded_bytes=max_decoded_bytes),
        recording=replace(DEFAULTS.recording, max_bytes=max_upload_bytes, max_seconds=max_recording_seconds),
        max_upload_bytes=max_upload_bytes, memory_budget=memory_budget, disk_budget=disk_budget,
        clips_budget=clips_budget, max_audios=max_audios, max_clips=max_clips, max_text=max_text, max_tokens=max_tokens,
        max_body_bytes=max_body_bytes, concurrency=concurrency, queue=queue, request_timeout=request_timeout,
        media_hosts=tuple(allowed_media_hosts or ()), connections=ConnectionLimits(max_connections),
    )  # fmt: skip
    configure_logging(log_level.value)
    launch = Launch(
        directory,
        settings,
        host,
        port,
        fas_only,
        backend.value,
        device,
        tuple(vllm_arg or ()),
        enforce_eager,
        vllm_log,
        revision,
        speech_threshold,
        words,
        words_model,
        transcript,
        unsure_below,
        cues,
    )
    try:
        asyncio.run(serve(launch, lambda text: typer.echo(text, err=True)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(INTERRUPTED) from None


if __name__ == "__main__":
    run(app, "python -m serve")
