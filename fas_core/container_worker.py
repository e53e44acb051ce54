"""The process in which FFmpeg reads containers: run as a script with the number of a socket, by `fas_core.containers`.

It imports nothing of this package, has no environment and no file but the one it is handed, and limits itself: an index that
claims millions of samples costs this process its life, and nobody else anything.
Each request is a file descriptor, or a word to give up the one before; answers are messages of a kind (one byte), a length (four) and so many bytes.
"""

import json
import os
import select
import socket
import struct
import sys
import time

sys.path[:] = sys.argv[3:]  # where the parent finds PyAV, and no more: this script runs isolated
import av  # noqa: E402
import numpy as np  # noqa: E402

try:
    import resource
except ImportError:  # no such limits on this system; the parent's clock is left
    resource = None

# Plain containers only: playlists (hls, concat, dash) would make FFmpeg open other files and addresses.
FORMATS = "aac,ac3,aiff,amr,asf,avi,caf,flac,flv,matroska,mov,mp3,mpegts,ogg,wav,wv"
SLOWEST = 0.25  # seconds of computing, allowed for each second given: decoding takes a hundredth of it
MESSAGE_FRAMES = 8_192  # samples of a channel that are sent at once: a frame alone is some 20 ms
LARGEST_BLOCK = 65_536  # of one message
HEADER, SAMPLES, ERROR, DONE = b"HSED"
DECLARES_LENGTH = {"mov", "asf", "avi", "flv", "wv"}  # others estimate it


def main() -> None:
    limits = json.loads(sys.argv[2])
    parent = socket.socket(fileno=int(sys.argv[1]))
    limit_files(limits["memory"])
    while True:
        data, descriptors, _, _ = socket.recv_fds(parent, 1, 1)
        if not data:
            return
        if not descriptors:  # a file that had ended already is given up
            continue
        with os.fdopen(descriptors[0], "rb") as file:
            kind, problem = answer(parent, file, limits["seconds"])
        send(parent, kind, problem)  # only now: whoever asked may look whether this process holds any file
        if problem == b"memory":
            return  # what is left may be in pieces


def limit_files(memory: int) -> None:
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_time(seconds: float) -> None:
    """Lets this process compute until it has used so many seconds; then it is killed."""
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def answer(parent: socket.socket, file, seconds: float) -> tuple[int, bytes]:
    """Sends samples; gives the last message, `DONE` or an `ERROR` and what it is."""
    try:
        read, rate, length, began = 0, 1, 0.0, time.process_time()
        waiting: list[np.ndarray] = []
        limit_time(began + seconds)
        for frame, declared in frames(file):
            if not read:
                length = declared
                rate, channels = frame.sample_rate, frame.layout.nb_channels
                send(parent, HEADER, json.dumps({"rate": rate, "channels": channels}).encode())
            if frame.sample_rate != rate:
                raise Unusable("its sample rate changes midway")
            read += frame.samples
            waiting.append(samples(frame))
            limit_time(began + seconds + SLOWEST * read / rate)
            if sum(map(len, waiting)) < MESSAGE_FRAMES and is_like(waiting[0], waiting[-1]):
                continue
            send_samples(parent, waiting)
            if select.select([parent], [], [], 0)[0]:
                break  # whoever asked wants no more of it
        else:
            send_samples(parent, waiting)
            check_length(read / rate, length)
        return DONE, b""
    except Unusable as error:
        return ERROR, str(error).encode()
    except MemoryError:
        return ERROR, b"memory"
    except (av.FFmpegError, PermissionError, ValueError) as error:
        return ERROR, b"memory" if getattr(error, "errno", 0) == 12 else b"not audio, or damaged or truncated"


def check_length(seconds: float, declared: float) -> None:
    if seconds < declared - max(0.25, 0.01 * declared):  # codec delay and padding are not truncation
        raise Unusable(f"truncated: {seconds:.2f} of {declared:.2f} s could be decoded")


class Unusable(Exception):
    """What the parent is to say of the file."""


def frames(file):
    """(frame, seconds that the container declares) of the first audio track."""
    options = {"format_whitelist": FORMATS}
    with av.open(file, options=options, metadata_errors="ignore", io_open=refuse) as container:
        if not container.streams.audio:
            raise Unusable("has no audio track")
        declared = declared_seconds(container)
        empty = True
        for frame in container.decode(container.streams.audio[0]):
            empty = False
            yield frame, declared
        if empty:  # FFmpeg goes on without an index that found no memory
            raise (
                MemoryError
                if container.streams.audio[0].frames
                else Unusable("empty: its audio track holds no samples")
            )


def refuse(url: str, flags: int, options: dict):
    raise PermissionError("a media file must not open another")


def declared_seconds(container) -> float:
    """Length of the audio track as its container says; 0 where that is an estimate or of another track."""
    names = set(container.format.name.split(","))
    stream = container.streams.audio[0]
    if names & DECLARES_LENGTH and stream.duration:
        return float(stream.duration * stream.time_base)
    if (names & (DECLARES_LENGTH | {"matroska"})) and len(container.streams) == 1 and container.duration:
        return container.duration / 1e6
    return 0.0


def samples(frame) -> np.ndarray:
    """(n, channels) of a frame, float32 or whole numbers."""
    values = frame.to_ndarray()  # planar: (channels, n); packed: (1, n * channels)
    values = values.T if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels)
    return values.astype(np.float32) if values.dtype.kind == "f" else values


def is_like(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two frames may be parts of one message."""
    return a.dtype == b.dtype and a.shape[1] == b.shape[1]


def send_samples(parent: socket.socket, waiting: list[np.ndarray]) -> None:
    """Sends and forgets what is waiting; frames that differ from those before stand in a message of their own."""
    while waiting:
        count = next((i for i, each in enumerate(waiting) if not is_like(waiting[0], each)), len(waiting))
        whole = np.ascontiguousarray(np.concatenate(waiting[:count]))
        del waiting[:count]
        head = json.dumps({"dtype": whole.dtype.str, "channels": whole.shape[1]}).encode().ljust(64)
        for start in range(0, len(whole), LARGEST_BLOCK):
            send(parent, SAMPLES, head + whole[start : start + LARGEST_BLOCK].tobytes())


def send(parent: socket.socket, kind: int, data: bytes = b"") -> None:
    parent.sendall(struct.pack(">BI", kind, len(data)) + data)


if __name__ == "__main__":
    try:
        main()
    except (BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        pass  # whoever asked is gone
