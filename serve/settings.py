"""What the gateway accepts, in one place."""

from dataclasses import dataclass, field

from fas_core.audio import AudioLimits

MIB = 1024**2


def default_audio_limits() -> AudioLimits:
    return AudioLimits(max_bytes=25 * MIB, max_seconds=300.0, max_decoded_bytes=256 * MIB)


@dataclass(frozen=True)
class Settings:
    """Limits and names of one gateway.

    Attributes:
        model: name under which `/v1/models` lists the model.
        api_key: what clients must send as bearer token; None only where the address is loopback.
        audio: limits of one audio.
        max_audios: audios of one chat request.
        max_clips: clips of one `/v1/emotion` request.
        max_text: characters of a chat request without its audio.
        max_tokens: tokens of one answer.
        max_body_bytes: of one request.
        concurrency: requests that are worked on at once.
        queue: requests that may wait; one more is answered by 429.
        body_timeout, request_timeout: seconds to receive a request, and to answer it.
        media_hosts: hosts (`name` or `name:port`) from which `audio_url` may be fetched; none by default.
    """

    model: str = "fas"
    api_key: str | None = None
    audio: AudioLimits = field(default_factory=default_audio_limits)
    max_audios: int = 4
    max_clips: int = 32
    max_text: int = 100_000
    max_tokens: int = 1024
    max_body_bytes: int = 48 * MIB
    concurrency: int = 32
    queue: int = 128
    body_timeout: float = 60.0
    request_timeout: float = 300.0
    media_hosts: tuple[str, ...] = ()
