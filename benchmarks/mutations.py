"""What is done to audio files for fuzzing: random damage, forged sizes, joins, and files made to eat memory or time."""

import io
import random
import struct
from collections.abc import Callable

import numpy as np
import soundfile

from benchmarks.audio_formats import made_up

EXTREMES = [0, 1, 2, 3, 65, 255, 0x7FFF, 0xFFFF, 4_000_000, 60_000_000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF]
HEADER = 600  # bytes, in which most fields lie
# Names before or behind which containers keep sizes and counts.
FIELDS = (
    b"data fmt  LIST fact ds64 COMM SSND FORM desc pakt info moov trak mdia stbl stts stsz stsc stco mdhd mvhd mdat elst "
    b"esds OggS OpusHead vorbis fLaC Xing Info ID3 strh strf idx1 movi avih BODY VHDR onMetaData wvpk"
).split(b" ")  # fmt: skip


def mutated(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """A file with one to five faults; `other` is what it may be joined with."""
    for _ in range(chance.randint(1, 5)):
        data = chance.choice(MUTATIONS)(data, chance) if chance.random() < 0.9 else _join(data, other, chance)
    return data


def _flip(data: bytes, chance: random.Random) -> bytes:
    return _put(data, chance.randrange(len(data) + 1), bytes([chance.randrange(256)]))


def _flip_header(data: bytes, chance: random.Random) -> bytes:
    return _put(data, chance.randrange(HEADER), bytes([chance.randrange(256)]))


def _forge(data: bytes, chance: random.Random) -> bytes:
    """A number near the name of a field, or anywhere in the header."""
    found = [at for name in FIELDS if name and (at := data.find(name)) >= 0]
    position = (
        chance.choice(found) + chance.randrange(-4, 32) if found and chance.random() < 0.7 else chance.randrange(HEADER)
    )
    width = chance.choice([1, 2, 3, 4, 8])
    number = (chance.choice(EXTREMES) % 256**width).to_bytes(width, chance.choice(["big", "little"]))
    return _put(data, max(0, position), number)


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _insert(data: bytes, chance: random.Random) -> bytes:
    position = chance.randrange(len(data) + 1)
    return data[:position] + chance.randbytes(chance.randint(1, 64)) * chance.randint(1, 50) + data[position:]


def _cut_out(data: bytes, chance: random.Random) -> bytes:
    position = chance.randrange(len(data) + 1)
    return data[:position] + data[position + chance.randint(1, 500) :]


def _repeat(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data) + 1)
    piece = data[start : start + chance.randint(1, 2000)]
    return data[:start] + piece * chance.randint(2, 50) + data[start:]


def _join(data: bytes, other: bytes, chance: random.Random) -> bytes:
    return data + other[chance.choice([0, 0, chance.randrange(len(other))]) :]


def _put(data: bytes, position: int, new: bytes) -> bytes:
    return data[:position] + new + data[position + len(new) :]


MUTATIONS = (_flip, _flip_header, _flip_header, _forge, _forge, _forge, _cut, _insert, _cut_out, _repeat)


# Files made to eat memory or time


def _index(samples: int, duration: int = 1024, seconds: float = 0.3) -> bytes:
    """An MP4 whose index of a few bytes claims that many samples of one byte."""
    data = made_up("m4a", seconds)
    boxes = {
        b"stts": (1, samples, duration), b"stsz": (1, samples), b"stsc": (1, 1, samples, 1), b"stco": (1, 40),
    }  # fmt: skip
    for name, numbers in boxes.items():
        data = _put(data, data.index(name) + 8, struct.pack(f">{len(numbers)}I", *numbers))
    return data


def _fragments(count: int) -> bytes:
    """An MP4 with that many fragments, each of which claims a million samples of no bytes."""
    run = struct.pack(">I4sII", 16, b"trun", 0, 1_000_000)
    head = struct.pack(">I4sII", 16, b"tfhd", 0x20000, 1)
    fragment = struct.pack(">I4s", 24 + len(head) + len(run) - 8, b"moof") + struct.pack(
        ">I4s", 8 + len(head) + len(run), b"traf"
    )
    return made_up("m4a", 0.3) + (fragment + head + run) * count


def _silence(container: str, subtype: str, minutes: int, rate: int = 16_000, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, channels, subtype, format=container) as sound:
        for _ in range(minutes):
            sound.write(np.zeros((60 * rate, channels), np.int16))
    return file.getvalue()


def _claims(name: str, after: bytes, offset: int, form: str, value: int) -> bytes:
    data = made_up(name, 0.3)
    return _put(data, data.index(after) + offset, struct.pack(form, value))


def _ebml_lists(count: int) -> bytes:
    """A Matroska whose index has that many entries."""
    data = made_up("mka-pcm", 0.3)
    point = bytes.fromhex("bb8db3820001b787f78101f1821000")
    cues = bytes.fromhex("1c53bb6b") + (1 << 56 | len(point) * count).to_bytes(8, "big") + point * count
    at = data.index(bytes.fromhex("18538067")) + 4  # the segment's size, which has the index in it
    size = int.from_bytes(data[at + 1 : at + 8], "big") + len(cues)
    return _put(data + cues, at, (1 << 56 | size).to_bytes(8, "big"))


def _wav(channels: int, rate: int, bits: int, size: int = 64_000) -> bytes:
    form = struct.pack(
        "<HHIIHH", 1, channels, rate, rate * channels * bits // 8 % 2**32, channels * bits // 8 % 2**16, bits
    )
    return (
        b"RIFF"
        + struct.pack("<I", 36 + size)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", size)
        + bytes(size)
    )


BOMBS: dict[str, Callable[[], bytes]] = {
    "mp4 index of 60 million": lambda: _index(60_000_000),
    "mp4 index of 2 billion": lambda: _index(2_000_000_000),
    "mp4 index of one-tick samples": lambda: _index(60_000_000, duration=1),
    "mp4 index of samples without duration": lambda: _index(60_000_000, duration=0),
    "mp4 of 20,000 fragments": lambda: _fragments(20_000),
    "mov claims 2 billion samples": lambda: _claims("mov", b"stsz", 12, ">I", 2_000_000_000),
    "alac frames of 2 billion": lambda: _claims("m4a-alac", b"alac\0\0\0\0", 8, ">I", 0x7FFFFFFF),
    "matroska index of a million": lambda: _ebml_lists(1_000_000),
    "matroska block of 2 GB": lambda: _claims("mka-pcm", bytes.fromhex("1f43b675"), 4, ">Q", 0x0100000080000000),
    "asf packets of 4 GB": lambda: _claims("wma", bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"), 92, "<I", 0xFFFFFFF0),
    "avi of 2 billion chunks": lambda: _claims("avi", b"strh", 40, "<I", 0x7FFFFFFF),
    "avi index of 16 MB": lambda: made_up("avi", 0.3) + b"idx1" + struct.pack("<I", 16_000_000) + b"01wb\x10\0\0\0\0\0\0\0\x01\0\0\0" * 1_000_000,
    "caf packets of 2^62": lambda: _claims("caf-alac", b"pakt", 12, ">q", 2**62),
    "caf table of 2 GB": lambda: _claims("caf-alac", b"pakt", 4, ">q", 0x7FFFFFFF),
    "flv tags": lambda: made_up("flv", 0.3) + bytes.fromhex("0800000000000000000000" "0000000b") * 500_000,
    "transport stream of programmes": lambda: made_up("mpegts", 0.3) + b"".join(
        b"\x47" + struct.pack(">H", 0x4000 | pid) + b"\x10" + bytes(184) for pid in range(8191)) * 8,
    "wavpack block of 1 GB": lambda: _claims("wv", b"wvpk", 4, "<I", 0x3FFFFFFF),
    "flac of an hour": lambda: _silence("FLAC", "PCM_16", 60, 4000),
    "flac of eight channels": lambda: _silence("FLAC", "PCM_16", 5, 48_000, 8),
    "flac with 16 MB of picture": lambda: _flac_picture(),
    "flac blocks of 65,535": lambda: _put(made_up("flac", 0.3), 8, b"\xff\xff\xff\xff"),
    "opus of six minutes": lambda: _silence("OGG", "OPUS", 6),
    "vorbis of ten minutes": lambda: _silence("OGG", "VORBIS", 10, 8000),
    "ogg of 100,000 links": lambda: (b"OggS\0\2" + bytes(20) + b"\1\1x") * 100_000,
    "ogg comment of 2 GB": lambda: _claims("opus", b"OpusTags", 8, "<I", 0x7FFFFFFF),
    "mp3 with a tag of 256 MB": lambda: b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + made_up("mp3", 0.3),
    "mp3 of 300,000 tags": lambda: b"ID3\x04\0\0\0\0\0\0" * 300_000 + made_up("mp3", 0.3),
    "opus of 5,000 links": lambda: made_up("opus", 0.03) * 5000,
    "mp3 of 40,000 counting frames": lambda: _counting_frames() * 40_000,
    "mp3 of false frames": lambda: b"ID3\x04\0\0\0\0\0\0" + b"\xff\xfb\x90\x00" * 1_000_000,
    "wav of 65,535 channels": lambda: _wav(65_535, 16_000, 16),
    "wav of 64 channels at 384 kHz": lambda: _wav(64, 384_000, 8, 8_000_000),
    "wav at 4 GHz": lambda: _wav(1, 0xFFFFFFFF, 16),
    "wav of a million chunks": lambda: b"RIFF\xff\xff\xff\x7fWAVE" + b"junk\0\0\0\0" * 1_000_000,
    "rf64 of 2^63": lambda: _claims("rf64", b"ds64", 16, "<Q", 2**63 - 1),
    "aiff of 4 billion frames": lambda: _claims("aiff", b"COMM", 10, ">I", 0xFFFFFFFF),
    "au of 2 GB": lambda: _claims("au", b".snd", 8, ">I", 0x7FFFFFFF),
    "w64 of 2^62": lambda: _claims("w64", b"data", 16, "<Q", 2**62),
    "nist of 10^18 samples": lambda: made_up("nist", 0.3).replace(b"sample_count -i ", b"sample_count -i 999999999999"),
    "voc of a million blocks": lambda: made_up("voc", 0.3)[:26] + b"\x03\x03\0\0\xff\xff\x80" * 1_000_000,
    "ms adpcm blocks of 65,535": lambda: _claims("wav-ms", b"fmt ", 20, "<H", 65_535),
    "zeros": lambda: bytes(32_000_000),
    "0xFF": lambda: b"\xff" * 32_000_000,
}  # fmt: skip


def _flac_picture() -> bytes:
    data = made_up("flac", 0.3)
    return data[:42] + b"\x06\xff\xff\xff" + bytes(2**24 - 1) + data[42:]


def _counting_frames() -> bytes:
    """One MPEG frame that says it counts a million others."""
    head = b"\xff\xfb\x10\xc4" + bytes(17) + b"Xing" + struct.pack(">II", 1, 1_000_000)
    return head.ljust(104, b"\0")
