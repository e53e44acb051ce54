"""Made-up audio in every format that libsndfile and FFmpeg write here: for the fuzzing and the tests of lengths."""

import io

import numpy as np
import soundfile

LIBSNDFILE = {  # name: format, subtype, rate, channels
    "wav": ("WAV", "PCM_16", 16_000, 1),
    "wav-u8": ("WAV", "PCM_U8", 8000, 2),
    "wav-24": ("WAV", "PCM_24", 22_050, 1),
    "wav-float": ("WAV", "FLOAT", 48_000, 2),
    "wav-double": ("WAV", "DOUBLE", 16_000, 1),
    "wav-ulaw": ("WAV", "ULAW", 8000, 1),
    "wav-ima": ("WAV", "IMA_ADPCM", 16_000, 1),
    "wav-ms": ("WAV", "MS_ADPCM", 16_000, 2),
    "wav-gsm": ("WAV", "GSM610", 8000, 1),
    "wav-g721": ("WAV", "G721_32", 8000, 1),
    "wavex": ("WAVEX", "PCM_16", 48_000, 4),
    "rf64": ("RF64", "PCM_16", 16_000, 2),
    "w64": ("W64", "PCM_16", 16_000, 1),
    "aiff": ("AIFF", "PCM_16", 44_100, 2),
    "aifc": ("AIFF", "ULAW", 8000, 1),
    "au": ("AU", "PCM_16", 16_000, 1),
    "au-ulaw": ("AU", "ULAW", 8000, 1),
    "caf": ("CAF", "PCM_16", 16_000, 1),
    "caf-alac": ("CAF", "ALAC_16", 44_100, 1),
    "flac": ("FLAC", "PCM_16", 16_000, 2),
    "flac-24": ("FLAC", "PCM_24", 44_100, 1),
    "ogg": ("OGG", "VORBIS", 44_100, 1),
    "opus": ("OGG", "OPUS", 48_000, 2),
    "mp3": ("MP3", "MPEG_LAYER_III", 44_100, 2),
    "mp3-16k": ("MP3", "MPEG_LAYER_III", 16_000, 1),
    "voc": ("VOC", "PCM_16", 16_000, 1),
    "nist": ("NIST", "PCM_16", 16_000, 1),
    "ircam": ("IRCAM", "PCM_16", 16_000, 1),
    "svx": ("SVX", "PCM_16", 16_000, 1),
    "avr": ("AVR", "PCM_16", 16_000, 1),
    "htk": ("HTK", "PCM_16", 16_000, 1),
    "mat4": ("MAT4", "PCM_16", 16_000, 1),
    "mat5": ("MAT5", "PCM_16", 16_000, 1),
    "paf": ("PAF", "PCM_16", 16_000, 1),
    "pvf": ("PVF", "PCM_16", 16_000, 1),
    "mpc2k": ("MPC2K", "PCM_16", 16_000, 1),
    "sds": ("SDS", "PCM_16", 16_000, 1),
    "xi": ("XI", "DPCM_16", 44_100, 1),
    "wve": ("WVE", "ALAW", 8000, 1),
}
FFMPEG = {  # name: container, codec, rate, channels
    "m4a": ("ipod", "aac", 44_100, 2),
    "mp4": ("mp4", "aac", 16_000, 1),
    "mov": ("mov", "pcm_s16le", 16_000, 1),
    "m4a-alac": ("ipod", "alac", 44_100, 1),
    "3gp": ("3gp", "aac", 16_000, 1),
    "webm": ("webm", "libopus", 48_000, 1),
    "mka": ("matroska", "aac", 44_100, 1),
    "mka-pcm": ("matroska", "pcm_s16le", 16_000, 1),
    "opus-lavf": ("ogg", "libopus", 48_000, 1),
    "mp3-lavf": ("mp3", "libmp3lame", 44_100, 1),
    "caf-lavf": ("caf", "pcm_s16le", 44_100, 1),
    "wav-lavf": ("wav", "pcm_s16le", 16_000, 1),
    "wav-mp3": ("wav", "libmp3lame", 44_100, 1),
    "mp4-mp3": ("mp4", "libmp3lame", 44_100, 1),
    "avi-pcm": ("avi", "pcm_s16le", 16_000, 1),
    "aiff-lavf": ("aiff", "pcm_s16be", 16_000, 1),
    "wma": ("asf", "wmav2", 44_100, 1),
    "avi": ("avi", "libmp3lame", 44_100, 1),
    "mpegts": ("mpegts", "aac", 44_100, 1),
    "aac": ("adts", "aac", 44_100, 1),
    "ac3": ("ac3", "ac3", 48_000, 1),
    "wv": ("wv", "wavpack", 16_000, 1),
    "flv": ("flv", "aac", 44_100, 1),
    "mp2": ("mp2", "mp2", 44_100, 1),
}
NAMES = (*LIBSNDFILE, *FFMPEG)


def voice(rate: int, channels: int, seconds: float) -> np.ndarray:
    """A glide with a little noise, (n, channels) float32: nowhere silent, so that what is lost is missed."""
    time = np.arange(round(rate * seconds)) / rate
    tone = 0.2 * np.sin(2 * np.pi * (180 * time + 40 * time**2))
    noise = 0.02 * np.random.default_rng(0).standard_normal((len(time), channels))
    return (tone[:, None] + noise).astype(np.float32)


def made_up(name: str, seconds: float) -> bytes:
    """A file of that format. Raises whatever the library raises that cannot write it."""
    return _by_libsndfile(*LIBSNDFILE[name], seconds) if name in LIBSNDFILE else _by_ffmpeg(*FFMPEG[name], seconds)


def rate_of(name: str) -> int:
    return (LIBSNDFILE | FFMPEG)[name][2]


def _by_libsndfile(container: str, subtype: str, rate: int, channels: int, seconds: float) -> bytes:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, channels, subtype, format=container) as sound:
        samples = voice(rate, channels, seconds)
        for start in range(0, len(samples), rate):  # libsndfile crashes on minutes of Vorbis or Opus at once
            sound.write(samples[start : start + rate])
    return file.getvalue()


def _by_ffmpeg(container: str, codec: str, rate: int, channels: int, seconds: float) -> bytes:
    import av

    file, layout = io.BytesIO(), {1: "mono", 2: "stereo"}[channels]
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        if codec == "wmav2":
            stream.bit_rate = 64_000
        frame = av.AudioFrame.from_ndarray(voice(rate, channels, seconds).T.copy(), format="fltp", layout=layout)
        frame.sample_rate = rate
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(stream.codec_context.format, layout, rate, frame_size=size)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    return file.getvalue()
