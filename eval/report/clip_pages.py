"""A page for each shown clip: audio where its licence allows, waveform with kept tokens, every system's answer."""

import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from fas_core.atomic import atomic_directory, write_text
from fas_core.audio import SAMPLE_RATE, load_audio
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS
from fas_core.segments import split_segment
from fas_core.sources import AUDIO_SUFFIXES
from fas_eval.report.clips import ClipAnswers
from fas_eval.report.formats import is_number
from fas_eval.report.pages import render
from fas_eval.report.reading import Run
from fas_eval.report.waveform import bands, outline

Shown = dict[str, list[ClipAnswers]]  # benchmark -> clips in the order of their pages


def write_clip_pages(run: Run, shown: Shown, slugs: dict[str, str], audio: bool | None, progress: bool) -> None:
    """Write `clips/<benchmark>/<n>.html`, in the place of all pages that were there.

    Args:
        audio: True copies every shown clip's audio next to its page, False none, None only that of benchmarks marked as
            synthetic: the licences of most corpora do not let their speech be passed on.
    """
    wanted = {(benchmark, clip.id) for benchmark, clips in shown.items() for clip in clips}
    described = {key: clip for clip in run.clips() if (key := (clip.get("benchmark"), clip.get("id"))) in wanted}
    answers = defaultdict(list)
    for row in run.answers():
        if (key := (row["benchmark"], row["id"])) in wanted:
            answers[key].append(_answer(run, row))
    with atomic_directory(run.folder / "clips") as folder:
        for benchmark, clips in shown.items():
            facts = run.benchmarks.get(benchmark, {"title": benchmark})
            copied = facts.get("synthetic") is True if audio is None else audio
            for number, clip in enumerate(
                tqdm(clips, desc=f"pages of {benchmark}", unit="clip", disable=not progress), 1
            ):
                page = folder / slugs[benchmark] / f"{number}.html"
                content = {"benchmark": facts, "slug": slugs[benchmark], "number": number, "last": len(clips)}
                content |= _picture(run, described.get((benchmark, clip.id), {}), page if copied else None)
                write_text(page, render("clip.html", content | _told(clip, answers[benchmark, clip.id])))


def _told(clip: ClipAnswers, answers: list[dict]) -> dict:
    has = {
        **{name: any(a[name] is not None for a in answers) for name in ("conflict", "disagreement")},
        "words": any(a["transcript"] or a["words_missing"] for a in answers),
        "text": any(a["text"] or a["error"] for a in answers),
    }
    return {"clip": clip, "answers": answers, "has": has, "emotions": EMOTIONS}


def _answer(run: Run, row: dict[str, str]) -> dict:
    probabilities = [_number(row.get(f"p_{emotion}")) for emotion in EMOTIONS]
    known = all(p is not None for p in probabilities)
    return {
        **{
            key: row.get(key) or None
            for key in ("seed", "label", "how", "text", "error", "transcript", "words_missing")
        },
        "title": run.title(row["system"]),
        **{name: _number(row.get(name)) for name in ("conflict", "disagreement")},
        "mass": _number(row.get("mass")),
        "probabilities": probabilities if known else None,
    }


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if is_number(value) else None


def _picture(run: Run, description: dict, page: Path | None) -> dict:
    """Waveform, kept tokens, and the name of the audio copied next to `page` (None: not allowed)."""
    picture = {
        "outline": None,
        "seconds": None,
        "audio": None,
        "problem": None,
        "kept": [],
        "allowed": page is not None,
        "text": description.get("text"),
    }
    kept = {name: tokens for name, tokens in (description.get("kept") or {}).items() if tokens}
    source = run.folder / description["audio"] if description.get("audio") else None  # an absolute path stays one
    if source is None:
        picture["problem"] = "No audio is named in clips.jsonl."
    else:
        try:
            samples = load_audio(source).samples
            picture |= {"outline": outline(samples), "seconds": len(samples) / SAMPLE_RATE}
            if page is not None and Path(split_segment(source)[0]).is_symlink():
                picture["problem"] = "Its file is a link, whose target is not copied into a report."
            elif page is not None:
                picture["audio"] = _copied(source, samples, page)
        except (FASError, OSError) as error:
            picture["problem"] = str(error)
    seconds = picture["seconds"] or max((t.get("end") or 0 for tokens in kept.values() for t in tokens), default=0)
    picture["seconds"] = seconds
    picture["kept"] = [(run.title(name), bands(tokens, seconds)) for name, tokens in kept.items()]
    return picture


def _copied(source: Path, samples: np.ndarray, page: Path) -> str | None:
    """The name of the audio beside the page: the file as it is, or what of it is heard; None for what no browser plays."""
    page.parent.mkdir(parents=True, exist_ok=True)
    if split_segment(source)[1] is not None:
        soundfile.write(page.with_suffix(".flac"), samples, SAMPLE_RATE, subtype="PCM_16")
        return page.with_suffix(".flac").name
    if source.suffix.lower() not in AUDIO_SUFFIXES:
        return None
    return shutil.copyfile(source, page.with_suffix(source.suffix.lower())).name
