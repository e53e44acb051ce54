"""What the gateway accepts, in one place."""

from dataclasses import dataclass, field

from fas_core.audio import AudioLimits

MIB = 1024**2


def default_audio_limits() -> AudioLimits:
    return AudioLimits(max_bytes=25 * MIB, max_seconds=300.0, max_decoded_bytes=256 * MIB)


def default_recording_limits() -> AudioLimits:
    return AudioLimits(max_bytes=1024 * MIB, max_seconds=2 * 3600.0, max_decoded_bytes=4096 * MIB)


@dataclass(frozen=True)
class ConnectionLimits:
    """What connections may cost, before anybody has shown a key.

    Attributes:
        connections: at once; a new one takes the place of the one that has been idle longest.
        share: of the connections that one address may have.
        head_bytes, headers: of one request, its first line included.
        head_seconds: from the first byte to the end of the head, and from the connection to the first byte.
        write_seconds: that an answer may wait for a client that does not read it.
        linger_seconds: that a refused body is still read, and dropped, so that the client sees the answer.
        free_pieces, piece_bytes: that many pieces a body may have of any size; the mean of all must be larger then.
        pipelined_bytes: that may follow a request before its answer; they are dropped.
    """

    connections: int = 1024
    share: float = 0.75
    head_bytes: int = 32 * 1024
    headers: int = 100
    head_seconds: float = 15.0
    write_seconds: float = 60.0
    linger_seconds: float = 5.0
    free_pieces: int = 1000
    piece_bytes: int = 256
    pipelined_bytes: int = 64 * 1024


@dataclass(frozen=True)
class Settings:
    """Limits and names of one gateway.

    Attributes:
        model: name under which `/v1/models` lists the model.
        api_key: what clients must send as bearer token; None only where the address is loopback.
        audio: limits of one audio that the language model hears.
        recording: limits of one clip of `/v1/emotion`, which FAS answers piece by piece; its seconds are those of all
            clips of a request.
        max_audios: audios of one chat request.
        max_clips: clips of one `/v1/emotion` request.
        max_text: characters of a chat request without its audio.
        max_tokens: tokens of one answer.
        max_body_bytes: of one request in JSON, which is held in memory.
        max_upload_bytes: of one request with files, which go to disk.
        memory_budget, disk_budget, clips_budget: of all requests together; what does not fit is answered by 429.
        concurrency: requests that are worked on at once.
        queue: requests that may wait; one more is answered by 429.
        body_timeout, request_timeout: seconds to receive a request, and to answer it.
        media_hosts: hosts (`name` or `name:port`) from which `audio_url` may be fetched; none by default.
        connections: see `ConnectionLimits`.
    """

    model: str = "fas"
    api_key: str | None = None
    audio: AudioLimits = field(default_factory=default_audio_limits)
    recording: AudioLimits = field(default_factory=default_recording_limits)
    max_audios: int = 4
    max_clips: int = 32
    max_text: int = 100_000
    max_tokens: int = 1024
    max_body_bytes: int = 48 * MIB
    max_upload_bytes: int = 1024 * MIB
    memory_budget: int = 1024 * MIB
    disk_budget: int = 8192 * MIB
    clips_budget: int = 1024
    concurrency: int = 32
    queue: int = 128
    body_timeout: float = 60.0
    request_timeout: float = 300.0
    media_hosts: tuple[str, ...] = ()
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
