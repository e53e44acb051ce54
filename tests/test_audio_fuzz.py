"""1,000 damaged files through the loader: audio or an AudioError, nothing else, and soon.

The decoders are native code, so the files are read in a process of its own. Before each one its description
is written down: if that process dies or hangs, the test names the file that did it.
Alone: `python tests/test_audio_fuzz.py FOLDER`.
"""

import faulthandler
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from test_audio import encoded, encoded_by_ffmpeg

from fas_core.audio import AudioLimits, load_audio, stream_audio
from fas_core.errors import AudioError

FILES = 1_000
SECONDS_EACH = 5
LIBSNDFILE = {
    "wav": ("WAV", "PCM_16"),
    "wav24": ("WAV", "PCM_24"),
    "wav_float": ("WAV", "FLOAT"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
}
PYAV = {"m4a": ("ipod", "aac"), "webm": ("webm", "libopus")}
# Where the headers keep sizes, rates and channels: (position, width)
FIELDS = {
    "wav": [(4, 4), (16, 4), (20, 2), (22, 2), (24, 4), (28, 4), (32, 2), (34, 2), (40, 4)],
    "aiff": [(4, 4), (16, 4), (20, 2), (22, 4), (26, 2), (28, 2), (30, 4), (42, 4)],
    "flac": [(4, 4), (8, 2), (10, 2), (18, 4), (21, 1), (22, 4), (42, 4)],
    "ogg": [(5, 1), (6, 4), (14, 4), (18, 4), (26, 1), (27, 1), (39, 1), (40, 4)],
}
EXTREMES = [0, 1, 2, 3, 65, 255, 0x7FFF, 0xFFFF, 4_000_000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF]

flip = st.tuples(st.just("flip"), st.floats(0, 1), st.integers(1, 255))
flip_header = st.tuples(st.just("flip_header"), st.integers(0, 255), st.integers(1, 255))
forge = st.tuples(st.just("forge"), st.integers(0, 99), st.sampled_from(EXTREMES), st.sampled_from(["big", "little"]))
truncate = st.tuples(st.just("truncate"), st.floats(0, 1))
insert = st.tuples(st.just("insert"), st.floats(0, 1), st.binary(min_size=1, max_size=64), st.integers(1, 50))
cut_out = st.tuples(st.just("cut_out"), st.floats(0, 1), st.integers(1, 500))
MUTATIONS = st.lists(st.one_of(flip, flip_header, forge, truncate, insert, cut_out), min_size=1, max_size=6)


def mutate(name: str, data: bytes, mutation: tuple) -> bytes:
    kind, where, *values = mutation
    position = int(where * len(data)) if isinstance(where, float) else min(where, max(len(data) - 1, 0))
    if kind == "truncate":
        return data[:position]
    if kind == "insert":
        return data[:position] + values[0] * values[1] + data[position:]
    if kind == "cut_out":
        return data[:position] + data[position + values[0] :]
    if kind == "forge":
        fields = next((fields for key, fields in FIELDS.items() if name.startswith(key)), None)
        position, width = fields[where % len(fields)] if fields else (where, 4)
        new = (values[0] % 256**width).to_bytes(width, values[1])
        return data[:position] + new + data[position + width :]
    return data[:position] + bytes(byte ^ values[0] for byte in data[position : position + 1]) + data[position + 1 :]


def check(data: bytes) -> str:
    """How the loader ends on these bytes; raises where it breaks its promise."""
    started = time.monotonic()
    limits = AudioLimits(max_seconds=60)
    try:
        audio = load_audio(data, limits=limits)
        blocks = list(stream_audio(data, block_seconds=0.1, limits=limits))
        outcome = "audio"
    except AudioError as error:
        assert error.source == "<bytes>" and error.problem
        outcome = error.problem.partition(":")[0]
    else:
        assert audio.samples.dtype == np.float32 and audio.samples.ndim == 1
        assert 0.025 * 16000 - 1 <= len(audio.samples) <= 60 * 16000 + 1
        assert np.isfinite(audio.samples).all()
        np.testing.assert_array_equal(np.concatenate([block.samples for block in blocks]), audio.samples)
        json.dumps(audio.info())
    assert time.monotonic() - started < SECONDS_EACH
    return outcome


def fuzz(folder: Path) -> dict:
    """Reads every mutated file; its description lies in `folder` before it is read."""
    bases = {path.stem: path.read_bytes() for path in sorted(folder.glob("*.base"))}
    outcomes = Counter()

    @settings(
        max_examples=FILES,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(name=st.sampled_from(sorted(bases)), mutations=MUTATIONS)
    def read_one(name, mutations):
        data = bases[name]
        for mutation in mutations:
            data = mutate(name, data, mutation)
        (folder / "current").write_text(f"{name} {mutations}")
        faulthandler.dump_traceback_later(SECONDS_EACH * 2, exit=True)
        outcomes[check(data)] += 1

    read_one()
    faulthandler.cancel_dump_traceback_later()
    return {"outcomes": outcomes, "megabytes": peak_megabytes()}


def peak_megabytes() -> int:
    """Of this process; 0 where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")), 0)


def test_damaged_files(tmp_path):
    for name, (container, subtype) in LIBSNDFILE.items():
        (tmp_path / f"{name}.base").write_bytes(encoded(container, subtype, 16000, 2, seconds=0.5))
    try:
        for name, (container, codec) in PYAV.items():
            (tmp_path / f"{name}.base").write_bytes(encoded_by_ffmpeg(container, codec, 48000, seconds=0.5))
    except BaseException as error:  # pytest's skip: PyAV is not installed, the rest stands
        assert type(error).__name__ == "Skipped", error
    for base in tmp_path.glob("*.base"):
        assert check(base.read_bytes()) == "audio"
    run = subprocess.run([sys.executable, __file__, str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, f"on {(tmp_path / 'current').read_text()}:\n{run.stderr[-3000:]}"
    report = json.loads(run.stdout.splitlines()[-1])  # decoders may print, too
    assert sum(report["outcomes"].values()) >= FILES
    assert report["outcomes"]["audio"] > FILES / 20  # else the mutations only test the first check
    assert len(report["outcomes"]) > 5
    assert report["megabytes"] < 600


def test_every_byte_of_a_header_flipped():
    for container, subtype in (("WAV", "PCM_16"), ("AIFF", "PCM_16"), ("FLAC", "PCM_16")):
        data = encoded(container, subtype, 16000, seconds=0.1)
        for position in range(60):
            check(data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :])


if __name__ == "__main__":
    faulthandler.enable()
    print(json.dumps(fuzz(Path(sys.argv[1]))))
