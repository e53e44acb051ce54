"""Audio is decoded whole or refused: truncated, joined, or with a header that says less or more than there is."""

import struct

import pytest
from test_audio import encoded, encoded_by_ffmpeg, with_bytes

from fas_core.audio import AudioLimits, lasts_longer, load_audio
from fas_core.errors import AudioError

SECONDS = 2.0
LIBSNDFILE = [
    ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("WAV", "IMA_ADPCM"), ("WAV", "GSM610"),
    ("WAVEX", "PCM_16"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("W64", "FLOAT"), ("AIFF", "PCM_16"), ("AIFF", "ULAW"),
    ("AU", "PCM_16"), ("AU", "ULAW"), ("AU", "FLOAT"), ("CAF", "PCM_16"), ("CAF", "ALAC_16"), ("SVX", "PCM_16"), ("NIST", "PCM_16"),
    ("NIST", "ULAW"), ("VOC", "PCM_16"), ("VOC", "PCM_U8"), ("VOC", "ULAW"), ("AVR", "PCM_16"), ("HTK", "PCM_16"),
    ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
]  # fmt: skip
FFMPEG = [
    ("ipod", "aac"), ("mp4", "aac"), ("mov", "pcm_s16le"), ("wav", "libmp3lame"), ("mp4", "libmp3lame"), ("webm", "libopus"), ("matroska", "libopus"),
    ("matroska", "aac"), ("avi", "mp3"), ("flv", "aac"), ("adts", "aac"), ("mpegts", "aac"), ("ac3", "ac3"), ("wv", "wavpack"),
    ("ogg", "libopus"), ("mp3", "libmp3lame"), ("aiff", "pcm_s16be"), ("caf", "pcm_s16le"), ("w64", "pcm_s16le"),
]  # fmt: skip
UNCHECKED = ["IRCAM", "PAF", "PVF", "MAT4", "MAT5", "MPC2K", "SDS", "WVE"]
# Streams of frames that carry no length: what is cut off at the end of a frame cannot be told from what was never there.
NO_LENGTH = {("ac3", "ac3"), ("mpegts", "aac")}


def made(kind, seconds=SECONDS) -> bytes:
    if kind in LIBSNDFILE:
        return encoded(*kind, 16000, seconds=seconds)
    return encoded_by_ffmpeg(*kind, 48000 if kind[1] == "ac3" else 16000, seconds=seconds)


def outcome(data: bytes) -> float | None:
    """Seconds, or None where it is refused."""
    try:
        return load_audio(data).duration
    except AudioError as error:
        assert error.hint, error
        return None


def name(kind) -> str:
    return "-".join(kind)


@pytest.fixture(params=LIBSNDFILE + FFMPEG, ids=name)
def kind(request):
    return request.param


def test_whole(kind):
    assert outcome(made(kind)) == pytest.approx(SECONDS, abs=0.15)  # codecs add their delay


@pytest.mark.parametrize("kept", [0.3, 0.5, 0.9, 0.99])
def test_cut_off(kind, kept):
    data = made(kind)
    found = outcome(data[: int(kept * len(data))])
    assert found is None or kind in NO_LENGTH


def test_joined(kind):
    found = outcome(made(kind) + made(kind, 3.0))
    assert found is None or found == pytest.approx(SECONDS + 3, abs=0.3)


def test_half_a_file_behind_a_whole_one(kind):
    data = made(kind)
    found = outcome(data + data[len(data) // 2 :])
    assert found is None or found > 1.5 * SECONDS - 0.3


@pytest.mark.parametrize("data", [
    encoded("OGG", "OPUS", 16000, seconds=0.05) * 1100, encoded("MP3", "MPEG_LAYER_III", 16000, seconds=0.05) * 1100,
    b"ID3\x04\0\0\0\0\0\0" * 5000 + encoded("MP3", "MPEG_LAYER_III", 16000), b"ID3\x04\0\0\0\0\0\0" + b"\xff\xfb\x90\0" * 50_000,
], ids=["links", "parts", "tags", "frames"])  # fmt: skip
def test_more_parts_than_a_recording_has(data):
    with pytest.raises(AudioError, match="files joined|hardly a frame"):
        load_audio(data)


def test_joined_three_times_is_decoded_where_people_join():
    for kind in (("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")):
        assert outcome(made(kind) * 3) == pytest.approx(3 * SECONDS, abs=0.1)


@pytest.mark.parametrize("between", [b"", b"TAG" + bytes(125), b"ID3\x03\0\0\0\0\1\0" + bytes(128)])
@pytest.mark.parametrize(
    ("first_counts", "second_counts"), [(True, True), (True, False), (False, True), (False, False)]
)
def test_joined_mp3(between, first_counts, second_counts):
    """With and without the frame that counts the others, and with tags between."""
    parts = [part if counts else without_count(part) for part, counts in zip(
        (made(("MP3", "MPEG_LAYER_III")), made(("MP3", "MPEG_LAYER_III"), 3.0)), (first_counts, second_counts), strict=True)]  # fmt: skip
    assert outcome(parts[0] + between + parts[1]) == pytest.approx(5, abs=0.25)


def without_count(data: bytes) -> bytes:
    return data[data.index(data[:2], 10) :]


@pytest.mark.parametrize("other", [("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")], ids=name)
def test_joined_of_two_kinds_is_refused(other):
    stereo = encoded(*other, 16000, 2)
    with pytest.raises(AudioError, match="change midway"):
        load_audio(made(other) + stereo)


@pytest.mark.parametrize(("container", "position", "form"), [
    ("WAV", 40, "<I"), ("AIFF", 42, ">I"), ("AU", 8, ">I"), ("CAF", None, ">q"), ("W64", None, "<q"), ("RF64", None, "<q"),
])  # fmt: skip
@pytest.mark.parametrize("factor", [0.0, 0.1, 0.5, 0.9, 1.1, 2.0])
def test_a_size_that_is_wrong(container, position, form, factor):
    data = made((container, "PCM_16"))
    size = int(SECONDS * 16000 * 2)
    position = position or data.index(struct.pack(form, size + {"CAF": 4, "W64": 24, "RF64": 0}[container]))
    found = outcome(with_bytes(data, position, struct.pack(form, int(size * factor))))
    assert found is None or found == pytest.approx(SECONDS, abs=0.01)


@pytest.mark.parametrize("seconds", [1, 20])
@pytest.mark.parametrize("factor", [0.1, 0.5, 0.99, 1.01, 2.0])
def test_a_flac_that_counts_wrong(seconds, factor):
    data = encoded("FLAC", "PCM_16", 16000, seconds=seconds)
    assert outcome(data) == seconds
    total = int(seconds * 16000 * factor)
    assert outcome(with_bytes(data, 22, struct.pack(">I", total))) is None


@pytest.mark.parametrize("position", range(4, 48))
def test_an_mp3_whose_first_frame_is_wrong(position):
    """The frame that counts the others: its flags, its number of frames and of bytes, and what it is found by."""
    data = encoded("MP3", "MPEG_LAYER_III", 44100, 2)
    for value in (0, 1, 0x7F, 0xFF):
        found = outcome(with_bytes(data, position, bytes([value])))
        assert found is None or found > 0.99


def test_a_caf_whose_packets_are_less_than_it_counts():
    data = encoded("CAF", "ALAC_16", 16000)
    assert outcome(data) == 1
    table = data.index(b"pakt") + 12 + 24
    for position in range(table, table + 8):
        found = outcome(with_bytes(data, position, b"\x01"))
        assert found is None or found == 1


@pytest.mark.parametrize(
    ("container", "name", "offset", "form"),
    [("W64", b"fmt ", 16, "<Q"), ("W64", b"data", 16, "<Q"), ("CAF", b"desc", 4, ">Q")],
)
def test_a_size_that_leads_out_of_every_file(container, name, offset, form, tmp_path):
    data, path = made((container, "PCM_16")), tmp_path / "a"
    for size in (2**62, 2**63 - 1, 2**63, 2**64 - 8):
        changed = with_bytes(data, data.index(name) + offset, struct.pack(form, size))
        path.write_bytes(changed)
        for source in (changed, path):
            with pytest.raises(AudioError):
                load_audio(source)


def test_nist_that_counts_wrong():
    data = made(("NIST", "PCM_16"))
    for count in (b"31000", b"33000"):
        assert outcome(data.replace(b"sample_count -i 32000", b"sample_count -i " + count)) is None


@pytest.mark.parametrize("container", UNCHECKED)
def test_what_cannot_be_checked_is_refused(container):
    data = encoded(container, "ALAW" if container == "WVE" else "PCM_16", 8000)
    with pytest.raises(AudioError, match="whether it is whole cannot be told.*expected wav"):
        load_audio(data)


@pytest.mark.parametrize(
    "rest", [b"", b"\0", bytes(512), b"LIST\x04\0\0\0INFO", b"id3 \x03\0\0\0abc\0", b"junk\x02\0\0\0ab"]
)
def test_chunks_and_padding_behind_the_samples_are_no_samples(rest):
    assert outcome(made(("WAV", "PCM_16")) + rest) == SECONDS


def test_a_file_of_the_working_folder_is_no_part_of_another(tmp_path, monkeypatch):
    """libsndfile looks for the header of a Sound Designer II in a file "._" there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "._").write_bytes(bytes(1000))
    assert outcome(made(("ipod", "aac"))) == pytest.approx(SECONDS, abs=0.15)
    with pytest.raises(AudioError, match="not audio"):
        load_audio(b"plain text\n" * 500)


@pytest.mark.parametrize("change", ["none", "zero", "chained", "ffmpeg"])
def test_how_long_it_lasts_is_what_the_loader_hears(change, tmp_path):
    data = made(("WAV", "PCM_16"))
    data = {
        "none": data, "zero": with_bytes(data, 40, bytes(4)), "chained": made(("OGG", "OPUS"), 1.0) * 2, "ffmpeg": made(("mpegts", "aac")),
    }[change]  # fmt: skip
    path = tmp_path / "a"
    path.write_bytes(data)
    heard = load_audio(path, limits=AudioLimits()).duration
    assert lasts_longer(path, heard - 0.2) and not lasts_longer(path, heard + 0.2)


def test_training_hears_as_many_windows_as_the_loader(tmp_path):
    from fas_alm.training.audio import _may_be_long

    path = tmp_path / "long.wav"
    path.write_bytes(with_bytes(encoded("WAV", "PCM_16", 8000, seconds=70), 40, bytes(4)))
    assert load_audio(path).duration == 70 and _may_be_long(str(path))
