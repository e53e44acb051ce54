"""What of a corpus becomes words: `python -m benchmarks.words --data DIR [--whisper offline:base] [--limit 200]`.

Corpora are folders below DIR. The frames are those of FAS's own encoder pass, after its front end. Texts that a corpus has are
compared word by word, without capitals and punctuation. Seconds are of processor time, so that they hold on a busy machine, too.
"""

import argparse
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import latency, machine, seconds_of, write_result
from fas_core.audio import SAMPLE_RATE, load_audio
from fas_core.data import load_corpus
from fas_core.encoders.whisper import WhisperEncoder
from fas_core.errors import reports_errors
from fas_core.frontend import FrontEnd, FrontEndConfig
from fas_core.labels import EMOTIONS
from fas_core.words.reader import WordsReader
from fas_core.words.text_model import SHIPPED, TextModel
from fas_core.words.transcriber import Transcriber
from fas_core.words.transcript import Transcript
from fas_core.words.types import Words

CORPORA = ("ravdess", "tess", "nemo", "ased", "urdu", "korean")  # EmoDB is a test set: name it to see it
CONFIDENCES = (0.37, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75)
AT_ONCE = 20  # clips
SECONDS = 4.0  # of the clip whose latency is measured


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.words", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with a folder a corpus")
    parser.add_argument("--corpora", nargs="+", default=CORPORA, help="folders below it (%(default)s)")
    parser.add_argument("--whisper", nargs="+", default=["offline:base", "offline:tiny.en"], help="(%(default)s)")
    parser.add_argument(
        "--words-model", default=SHIPPED, help="text model that reads the transcripts; default: the shipped one"
    )
    parser.add_argument("--split", choices=("train", "validation", "test"), help="only clips of this split")
    parser.add_argument("--limit", type=int, default=200, help="clips of each corpus, drawn at random (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("docs/words/transcripts.json"))
    return parser.parse_args(argv)


def words_of(text: str) -> list[str]:
    """Small letters, no punctuation.

    >>> words_of("Kids - are talking, by the DOOR!")
    ['kids', 'are', 'talking', 'by', 'the', 'door']
    """
    return re.sub(r"[^\w\s]", "", text.casefold()).split()


def word_errors(reference: Sequence[str], heard: Sequence[str]) -> int:
    """Words that are missing, too many or others: the edit distance.

    >>> word_errors("say the word bone".split(), "say the bone say".split())
    2
    """
    row = list(range(len(heard) + 1))
    for i, word in enumerate(reference, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


class Measured:
    """Processor seconds of the calls."""

    def __init__(self, work: Callable):
        self.work, self.seconds = work, 0.0

    def __call__(self, *arguments):
        start = time.process_time()
        try:
            return self.work(*arguments)
        finally:
            self.seconds += time.process_time() - start


def transcribed(encode: Callable, transcriber: Callable, files: list[str]) -> list[Transcript]:
    """Transcripts of files, some at once."""
    front_end, found = FrontEnd(FrontEndConfig()), []
    for start in range(0, len(files), AT_ONCE):
        samples = [front_end(load_audio(file).samples).samples for file in files[start : start + AT_ONCE]]
        output = encode(samples)
        found += transcriber([output.clip(index) for index in range(len(samples))])
    return found


def of_corpus(
    encoder: WhisperEncoder,
    transcriber: Transcriber,
    text_model: TextModel,
    name: str,
    folder: Path,
    limit: int,
    split: str | None,
) -> dict:
    clips = [clip for clip in load_corpus(name, folder) if split in (None, clip["split"])]
    clips = random.Random(0).sample(clips, min(limit, len(clips)))
    encode, transcribe = Measured(encoder.encode), Measured(transcriber)
    said = transcribed(encode, transcribe, [clip["audio"] for clip in clips])
    labels = [EMOTIONS[i] for i in text_model([each.english or each.text for each in said]).argmax(1)]
    words = [each for each in WordsReader(transcriber, text_model).read(said) if isinstance(each, Words)]
    result = {"clips": len(clips), "with_words": percent(len(words), len(said)), **quality(clips, said)}
    result["labels"] = dict(Counter(each.label for each in words).most_common())
    result["encoder_seconds"] = encode.seconds / len(clips)
    result["transcript_seconds"] = transcribe.seconds / len(clips)
    result["by_limit"] = {str(limit): at_limit(transcriber, clips, said, labels, limit) for limit in CONFIDENCES}
    return result


def quality(clips: Sequence[dict], said: Sequence[Transcript]) -> dict:
    """Percent of the clips, and of those with a clear transcript."""
    clear = [(clip, each) for clip, each in zip(clips, said, strict=True) if each.unclear is None]
    return {
        "clear": percent(len(clear), len(said)),
        "unclear": dict(Counter(each.unclear for each in said if each.unclear)),
        "languages": dict(Counter(each.language for _, each in clear).most_common()),
        "language_right": percent(sum(clip["language"] == each.language for clip, each in clear), len(clear)),
        "confidence": {
            str(q): float(np.quantile([e.confidence for e in said], q)) for q in (0.05, 0.25, 0.5, 0.75, 0.95)
        },
        **errors(clear),
    }


def errors(pairs: Sequence[tuple[dict, Transcript]]) -> dict:
    """Word error rate and clips without error in percent, of clips whose text is known."""
    known = [(words_of(clip["text"]), words_of(each.text)) for clip, each in pairs if clip["text"]]
    if not known:
        return {}
    wrong = [word_errors(*pair) for pair in known]
    return {
        "exact": percent(wrong.count(0), len(known)),
        "word_error": percent(sum(wrong), sum(len(reference) for reference, _ in known)),
    }


def at_limit(
    transcriber: Transcriber, clips: Sequence[dict], said: Sequence[Transcript], labels: Sequence[str], limit: float
) -> dict:
    """What another limit of the confidence would keep, and how right that is: text, language, and emotion of the words.

    `emotional` is of all clips: those that would be kept, and read as words that carry an emotion.
    """
    judge = replace(transcriber.limits, confidence=limit)
    chosen = [i for i, each in enumerate(said) if judge.why_unclear(each) is None]
    kept = [(clips[i], said[i]) for i in chosen]
    foreign = sum(clip["language"] != each.language for clip, each in kept)
    told = [clips[i]["semantic_emotion"] == labels[i] for i in chosen if clips[i]["semantic_emotion"]]
    return {
        "clear": percent(len(kept), len(said)),
        "wrong_language": percent(foreign, len(said)),
        "emotional": percent(sum(labels[i] != "neutral" for i in chosen), len(said)),
        "words_right": percent(sum(told), len(told)),
        **errors(kept),
    }


def latencies(encoder: WhisperEncoder, transcriber: Transcriber, folder: Path, name: str, calls: int = 10) -> dict:
    """Wall time of both steps for one clip, that of the first 200 which is nearest to 4 s."""
    clips = [
        FrontEnd(FrontEndConfig())(load_audio(clip["audio"]).samples).samples
        for clip in list(load_corpus(name, folder))[:200]
    ]
    clip = min(clips, key=lambda samples: abs(len(samples) / SAMPLE_RATE - SECONDS))
    frames = encoder.encode([clip]).clip(0)
    steps = {"encoder": lambda: encoder.encode([clip]), "transcript": lambda: transcriber([frames])}
    return {
        "clip_seconds": len(clip) / SAMPLE_RATE,
        **{step: latency([seconds_of(work) for _ in range(calls)]) for step, work in steps.items()},
    }


def percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None


def of_whisper(whisper: str, arguments: argparse.Namespace) -> dict:
    encoder = WhisperEncoder(whisper)
    text_model = TextModel.from_pretrained(arguments.words_model)
    transcriber = Transcriber(whisper, encoder.backbone, languages=text_model.languages)
    first = arguments.corpora[0]
    return {
        "latency": latencies(encoder, transcriber, arguments.data / first, first),
        "corpora": {
            name: of_corpus(
                encoder, transcriber, text_model, name, arguments.data / name, arguments.limit, arguments.split
            )
            for name in arguments.corpora
        },
    }


def report(result: dict) -> Iterator[str]:
    yield (
        "| Whisper | corpus | clear | with words | exact | word errors | language right | neutral | s encoder | s transcript |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for whisper, measured in result["whisper"].items():
        for name, found in measured["corpora"].items():
            keys = ("clear", "with_words", "exact", "word_error", "language_right")
            cells = ["" if found.get(key) is None else f"{found[key]:g}" for key in keys]
            labels = found.get("labels", {})
            cells.append(f"{percent(labels.get('neutral', 0), sum(labels.values()))}" if labels else "")
            seconds = [f"{found[key]:.2f}" for key in ("encoder_seconds", "transcript_seconds")]
            yield "| " + " | ".join([whisper, name, *cells, *seconds]) + " |"


@reports_errors
def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    torch.set_num_threads(arguments.threads)
    result = {
        "limit": arguments.limit,
        "whisper": {name: of_whisper(name, arguments) for name in arguments.whisper},
        "machine": machine(torch.device("cpu")),
    }
    write_result(arguments.output, result)
    print("\n".join(report(result)))


if __name__ == "__main__":
    raise SystemExit(main())
