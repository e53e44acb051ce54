"""Audio on its way to a backend: an array within the messages; where they are sent on as JSON, a wav in base64."""

import base64
import io

import numpy as np
import soundfile
from scipy.io import wavfile

from fas_core.audio import SAMPLE_RATE


def array_part(samples: np.ndarray) -> dict:
    """Samples (n,) at 16 kHz as a part of a message, as transformers' processors take it."""
    return {"type": "audio", "audio": np.asarray(samples, dtype=np.float32), "sampling_rate": SAMPLE_RATE}


def as_json(request: dict) -> dict:
    """A request whose arrays are `wav_part`s."""
    return request | {"messages": [_encoded(message) for message in request["messages"]]}


def wav_part(samples: np.ndarray) -> dict:
    """Samples (n,) at 16 kHz as an `input_audio` part: a wav of float32, so that nothing is lost on the way.

    The same samples are the same bytes (libsndfile would write the time into them), by which vLLM knows what it has heard.
    """
    buffer = io.BytesIO()
    wavfile.write(buffer, SAMPLE_RATE, np.asarray(samples, dtype=np.float32))
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


def samples_of(part: dict) -> np.ndarray:
    """The samples of an `array_part` or a `wav_part`: (n,) float32."""
    if part["type"] == "audio":
        return part["audio"]
    return soundfile.read(io.BytesIO(base64.b64decode(part["input_audio"]["data"])), dtype="float32")[0]


def _encoded(message: dict) -> dict:
    if isinstance(message["content"], str):
        return message
    parts = [wav_part(part["audio"]) if part["type"] == "audio" else part for part in message["content"]]
    return message | {"content": parts}
