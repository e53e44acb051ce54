"""A synthetic evaluation in the suite's files (results.json, answers.csv, clips.jsonl and little wavs), for tests and benchmarks of
the report. Every figure in it is made up: answers are drawn at random, with a skill for each system; no system was run.
"""

import csv
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import soundfile

from fas_core.labels import EMOTIONS
from fas_eval.benchmarks.entries import BENCHMARKS as ENTRIES
from fas_eval.benchmarks.published import published_results
from fas_eval.statistics.conflicts import halves

E = len(EMOTIONS)
# name: (title, kind, seeds, skill, pull of the words, group, parameters)
SYSTEMS = {
    "fas": ("FAS", "fas", [42, 43, 44], 2.3, 0.5, "FAS and its ablations", 3_452_935),
    "fas-concat": ("FAS, concat fusion", "fas", [42, 43, 44], 2.1, 0.9, "FAS and its ablations", 1_217_543),
    "fas-gated": ("FAS, gated fusion", "fas", [42, 43, 44], 2.25, 0.7, "FAS and its ablations", 1_645_063),
    "fas-random": ("FAS w/o top-k", "fas", [42], 1.9, 0.7, "FAS and its ablations", 3_452_935),
    "pooled-whisper": ("Whisper base, pooled", "classifier", [42, 43, 44], 1.7, 1.2, "Encoders", 266_247),
    "pooled-wavlm": ("WavLM, pooled", "classifier", [42], 0.3, 0.0, "Encoders", 397_319),
    "egemaps": ("eGeMAPS, logistic regression", "classifier", [], 1.3, 0.0, "", 623),
    "late": ("Late fusion", "classifier", [42], 1.8, 0.9, "", 663_566),
    "alm": ("FAS-ALM (SmolLM2-135M)", "alm", [], 2.0, 1.0, "", 138_600_000),
    "cascade": ("Cascade: transcript to text LLM", "cascade", [], 0.5, 2.4, "", 134_500_000),
}
# name: (title, setting, conflict, synthetic, ease, dataset of the papers)
BENCHMARKS = {
    "ravdess": ("RAVDESS", "in-domain", False, False, 1.2, "RAVDESS"),
    "emodb": ("EmoDB", "zero-shot", False, False, 0.8, "EmoDB"),
    "tess": ("TESS", "zero-shot", False, False, 0.9, "TESS"),
    "conflict-synth": ("Synthetic conflict set", "zero-shot", True, True, 1.0, "CASE"),
}
MISSING = [
    {
        "kind": "benchmark",
        "name": "case",
        "why": "no folder /data/home/someone/corpora/case",
        "where": "https://example.org/case",
    },
    {"kind": "benchmark", "name": "meld", "why": "no folder given", "where": "the project's page; licence GPL-3.0"},
    {"kind": "system", "name": "endpoint:gpt-4o-audio", "why": "no key in OPENAI_API_KEY", "where": ""},
]


def write_fixture(folder: Path, clips: int = 240, audio: int = 4, seed: int = 0, systems=tuple(SYSTEMS)) -> Path:
    """Write a made-up evaluation.

    Args:
        folder: of results.json, answers.csv, clips.jsonl and `audio/`.
        clips: of all benchmarks together. audio: how many clips of each benchmark get a wav.
        systems: keys of `SYSTEMS`.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    results = {"suite": _suite(), "provenance": _provenance(), "benchmarks": {}, "systems": {}, "scores": []}
    results["systems"] = {name: _system(name, rng) for name in systems}
    results |= {"comparisons": [], "missing": MISSING, "maps": {}}
    with (
        (folder / "answers.csv").open("w", encoding="utf-8", newline="") as answers,
        (folder / "clips.jsonl").open("w", encoding="utf-8") as listing,
    ):
        writer = csv.writer(answers)
        writer.writerow(
            "benchmark system seed id speaker language emotion semantic_emotion label how".split()
            + [f"p_{emotion}" for emotion in EMOTIONS]
            + ["conflict", "disagreement", "divergence", "transcript", "words_missing", "mass", "text", "error"]
        )
        for name in BENCHMARKS:
            _benchmark(name, clips // len(BENCHMARKS), audio, folder, results, writer, listing, rng)
    (folder / "results.json").write_text(json.dumps(results, indent=1, ensure_ascii=False), encoding="utf-8")
    return folder


def _suite() -> dict:
    command = "python -m eval.suite --preset paper --data /data/home/someone/corpora --output runs/paper"
    return {
        "version": 1,
        "preset": "paper",
        "command": command.split(),
        "seed": 42,
        "resamples": 1000,
        "resample": "speakers",
        "confidence": 0.95,
        "correction": "holm",
    }


def _provenance() -> dict:
    return {
        "date": "2026-01-02T03:04:05+00:00",
        "command": _suite()["command"],
        "versions": {"fas-alm": "0.1.0", "torch": "2.13.0", "transformers": "5.19.0", "numpy": "2.3.0"},
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "dirty": False,
        "platform": {"system": "Linux", "machine": "x86_64", "python": "3.11.9", "cpus": 2},
    }


def _system(name: str, rng) -> dict:
    title, kind, seeds, _, _, group, parameters = SYSTEMS[name]
    trained = 0 if kind == "cascade" else parameters if kind != "alm" else 4_100_000
    epochs = np.arange(30)
    trained_here = [str(seed) for seed in seeds] if kind in ("fas", "classifier") else []
    losses = {seed: (1.9 * np.exp(-epochs / 9) + 0.15 + 0.03 * rng.random(30)).tolist() for seed in trained_here}
    curves = {seed: (0.62 - 0.45 * np.exp(-epochs / 6) + 0.02 * rng.standard_normal(30)).tolist() for seed in losses}
    return {
        "title": title,
        "kind": kind,
        "seeds": seeds,
        "group": group,
        **({"ablation_of": "fas"} if group.startswith("FAS") and name != "fas" else {}),
        "weights": "random" if name == "pooled-wavlm" else "real",
        "parameters": parameters,
        "parameters_trained": trained,
        "training_seconds": float(60 + 200 * rng.random()) if curves else None,
        "curves": curves,
        "losses": losses,
        "peak_memory_mb": {"alm": 1900.0, "cascade": 1500.0}.get(kind, 420.0),
        "source": "https://example.org/" + name,
        "licence": "Apache-2.0",
        "training_corpora": ["ravdess", "tess"] if curves else [],
        "fold": 1 if curves else None,
        "identity": {"type": kind, "seed": seeds},
    }


def _benchmark(name, clips, audio, folder, results, writer, listing, rng) -> None:
    title, setting, conflict, synthetic, ease, dataset = BENCHMARKS[name]
    tone = np.arange(clips) % E
    rng.shuffle(tone)
    words = np.where(rng.random(clips) < 0.7, (tone + rng.integers(1, E, clips)) % E, tone) if conflict else None
    ids = [f"{name}-{i:05}" for i in range(clips)]
    speakers = [f"s{i % 12:02}" for i in range(clips)]
    results["benchmarks"][name] = {
        "title": title,
        "corpus": name,
        "languages": ["de"] if name == "emodb" else ["en"],
        "setting": setting,
        "side": "test",
        "fold": 1 if name == "ravdess" else None,
        "clips": clips,
        "corpus_clips": 3 * clips,
        "unreadable": [{"file": "/data/home/someone/corpora/x/broken.wav", "error": "no audio"}]
        if name == "tess"
        else [],
        "speakers": 12,
        "emotions": {emotion: int((tone == i).sum()) for i, emotion in enumerate(EMOTIONS)},
        "excluded": {"boredom: no such emotion among the seven": 81} if name == "emodb" else {},
        "data_sha256": "ab" * 32,
        "conflict": conflict,
        "synthetic": synthetic,
        "licence": "CC BY-NC-SA 4.0",
        "protocol": "speaker-independent, EmoBox fold 1" if name == "ravdess" else "all clips",
        "source": "https://example.org/" + name,
        "published": [vars(row) for row in published_results(dataset)],
        "published_note": next((b.published_note for b in ENTRIES.values() if b.published == dataset), ""),
    }
    correct = {}
    for system, entry in results["systems"].items():
        for seed in entry["seeds"] or [None]:
            logits = _logits(system, tone, words, ease, rng)
            score, rows, right = _score(name, system, seed, logits, tone, words, speakers, ids, rng)
            results["scores"].append({"setting": setting, **score})
            correct[system, seed] = right
            writer.writerows(rows)
    results["comparisons"] += _comparisons(name, correct)
    fas = [system for system in results["systems"] if system == "fas"]
    if name in ("ravdess", "conflict-synth") and fas:
        points = rng.standard_normal((clips, 2)) + 4 * np.stack([np.cos(tone), np.sin(tone)], 1)
        found = {i: [float(x), float(y)] for i, (x, y) in zip(ids, points.round(3), strict=True)}
        results["maps"][name] = {"fas": {"method": "umap" if name == "ravdess" else "pca", "points": found}}
    _clips(name, ids, tone, words, audio, folder, listing, fas, rng)


def _logits(system, tone, words, ease, rng) -> np.ndarray:
    _, _, _, skill, pull, _, _ = SYSTEMS[system]
    logits = rng.standard_normal((len(tone), E)) + skill * ease * np.eye(E)[tone]
    return logits if words is None else logits + pull * np.eye(E)[words]


def _score(benchmark, system, seed, logits, tone, words, speakers, ids, rng):
    kind, n = SYSTEMS[system][1], len(tone)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    answers = p.argmax(1)
    how = np.full(
        n, {"fas": "classifier", "classifier": "classifier", "alm": "options"}.get(kind, "rules"), dtype=object
    )
    if kind == "cascade":
        how[rng.random(n) < 0.06] = "unparsed"
        how[rng.random(n) < 0.02] = "failed"
        answers = np.where((how == "unparsed") | (how == "failed"), -1, answers)
    known = None if kind == "cascade" else p
    conflict = rng.random(n) if words is None else 0.6 * (tone != words) + 0.4 * rng.random(n)
    score = {
        "benchmark": benchmark,
        "system": system,
        "seed": seed,
        "how": {str(h): int((how == h).sum()) for h in dict.fromkeys(how)},
        "failed": [
            {"clip": ids[i], "error": f"/data/home/someone/corpora/{ids[i]}.wav: timed out"}
            for i in np.flatnonzero(how == "failed")[:5]
        ],
        "retries": int(rng.integers(0, 20)) if kind == "cascade" else 0,
        "seconds": n * {"alm": 0.8, "cascade": 1.9}.get(kind, 0.05),
        "audio_seconds": 3.1 * n,
        **_figures(tone, answers, known),
        "heads": _heads(tone, rng) if kind == "fas" else {},
        "tone_or_words": None if words is None else _tone_or_words(tone, words, answers),
        "halves": None if words is None else halves(tone, words, {"answer": answers}, resamples=20),
        "detection": {"auroc": 0.86, "interval": [0.81, 0.9]} if words is not None and kind == "fas" else None,
        "disagreement_detection": {"auroc": 0.71, "interval": [0.6, 0.8]}
        if words is not None and kind == "fas"
        else None,
    }
    rows = [
        [benchmark, system, "" if seed is None else seed, ids[i], speakers[i], "en", EMOTIONS[tone[i]]]
        + ["" if words is None else EMOTIONS[words[i]], "" if answers[i] < 0 else EMOTIONS[answers[i]], how[i]]
        + ([""] * E if known is None else [f"{value:.6f}" for value in p[i]])
        + (
            [*[f"{conflict[i]:.4f}"] * 3, *(("", "unclear") if i % 2 else ("we are <home>", ""))]
            if kind == "fas"
            else [""] * 5
        )
        + ["0.98" if kind == "alm" else ""]
        + ["The speaker sounds calm." if how[i] == "unparsed" else "", "timed out" if how[i] == "failed" else ""]
        for i in range(n)
    ]
    return score, rows, answers == tone


def _figures(tone, answers, p) -> dict:
    n = len(tone)
    confusion = np.zeros((E, E + 1), dtype=int)
    np.add.at(confusion, (tone, np.where(answers < 0, E, answers)), 1)
    hits, support = np.diag(confusion[:, :E]), confusion.sum(1)
    recall, precision = hits / np.maximum(support, 1), hits / np.maximum(confusion[:, :E].sum(0), 1)
    f1 = 2 * recall * precision / np.maximum(recall + precision, 1e-12)
    values = {"accuracy": float((answers == tone).mean()), "ua": float(recall.mean()), "macro_f1": float(f1.mean())}
    half = 1.96 * 0.5 / np.sqrt(n)
    by_emotion = {"recall": recall, "precision": precision, "f1": f1, "support": support}
    return {
        "clips": n,
        "answered": int((answers >= 0).sum()),
        **values,
        "intervals": {metric: [max(0.0, value - half), min(1.0, value + half)] for metric, value in values.items()},
        **{key: dict(zip(EMOTIONS, map(float, array), strict=True)) for key, array in by_emotion.items()},
        "confusion": confusion.tolist(),
        **({"ece": None, "reliability": None, "abstention": None} if p is None else _confidence(tone, answers, p)),
        "resampled": "speakers",
        "resamples": 1000,
        "confidence": 0.95,
    }


def _confidence(tone, answers, p) -> dict:
    confidence, right = p.max(1), answers == tone
    bins = np.minimum((confidence * 15).astype(int), 14)
    counts = np.bincount(bins, minlength=15)
    share = [np.bincount(bins, weights, 15) / np.maximum(counts, 1) for weights in (right, confidence)]
    order = np.argsort(-confidence)
    risk = np.cumsum(~right[order]) / np.arange(1, len(tone) + 1)
    coverage = np.arange(1, len(tone) + 1) / len(tone)
    return {
        "ece": float(counts @ np.abs(share[0] - share[1]) / len(tone)),
        "reliability": {"counts": counts.tolist(), "accuracy": share[0].tolist(), "confidence": share[1].tolist()},
        "abstention": {
            "coverage": coverage.tolist(),
            "risk": risk.tolist(),
            "aurc": float(risk.mean()),
            "accuracy_at": {"0.8": float(1 - risk[int(0.8 * len(tone)) - 1]), "0.5": float(1 - risk[len(tone) // 2])},
        },
    }


def _heads(tone, rng) -> dict:
    def figures(skill):
        return {metric: skill + 0.03 * float(rng.random()) for metric in ("accuracy", "ua", "macro_f1")}

    return {"acoustic": figures(0.5), "semantic": figures(0.3) | {"on_words": figures(0.6)}}


def _tone_or_words(tone, words, answers) -> dict:
    odd = tone != words
    n = int(odd.sum())
    shares = {
        "tone": float((answers[odd] == tone[odd]).mean()),
        "words": float((answers[odd] == words[odd]).mean()),
        "none": float((answers[odd] < 0).mean()),
    }
    shares["neither"] = 1 - sum(shares.values())
    half = 1.96 * 0.5 / np.sqrt(n)
    congruent = float((answers[~odd] == tone[~odd]).mean())
    return {
        "clips": len(tone),
        "congruent": len(tone) - n,
        "conflicting": n,
        "shares": shares,
        "intervals": {key: [max(0.0, value - half), min(1.0, value + half)] for key, value in shares.items()},
        "accuracy": {"congruent": congruent, "conflicting": shares["tone"]},
        "gap": congruent - shares["tone"],
        "gap_interval": [congruent - shares["tone"] - half, congruent - shares["tone"] + half],
    }


def _comparisons(benchmark, correct) -> list[dict]:
    found = []
    for (a, seed_a), (b, seed_b) in combinations(correct, 2):
        if a != b and seed_a in (None, 42) and seed_b in (None, 42):
            difference = correct[a, seed_a].astype(float) - correct[b, seed_b]
            error = difference.std() / np.sqrt(len(difference)) + 1e-9
            p = float(2 * np.exp(-0.5 * (difference.mean() / error) ** 2) / 2)
            ends = [float(difference.mean() + side * 1.96 * error) for side in (-1, 1)]
            found.append(
                {"benchmark": benchmark, "a": a, "b": b, "seed_a": seed_a, "seed_b": seed_b, "metric": "ua"}
                | {"difference": float(difference.mean()), "interval": ends, "p": p, "mcnemar_p": p}
            )
    floor = 0.0
    for rank, row in enumerate(sorted(found, key=lambda row: row["p"])):
        floor = max(floor, min(1.0, row["p"] * (len(found) - rank)))
        row |= {"p_corrected": floor, "significant": floor < 0.05, "mcnemar_p_corrected": floor}
    return found


def _clips(name, ids, tone, words, audio, folder, listing, fas, rng) -> None:
    for i, clip in enumerate(ids):
        # clips without a wav share one: thousands of files would say nothing more
        path = folder / "audio" / name / f"{i % audio:03}.wav"
        if i < audio:
            _write_wav(path, tone[i], rng)
        kept = [
            {
                "pathway": pathway,
                "start": round(0.1 * int(k), 1),
                "end": round(0.1 * int(k) + 0.1, 1),
                "score": float(score),
            }
            for pathway, k_kept in (("acoustic", 8), ("semantic", 16))
            for k, score in zip(np.sort(rng.permutation(16)[:k_kept]), rng.uniform(0.3, 1, k_kept), strict=True)
        ]
        row = {
            "benchmark": name,
            "id": clip,
            "audio": str(path.resolve()),
            "text": "They cancelled the party & nobody told me.",
            "emotion": EMOTIONS[tone[i]],
            "semantic_emotion": None if words is None else EMOTIONS[words[i]],
            "kept": dict.fromkeys(fas, kept),
        }
        listing.write(json.dumps(row) + "\n")


def _write_wav(path: Path, emotion: int, rng) -> None:
    time = np.arange(16_000 * 16 // 10) / 16_000
    swell = np.abs(np.sin(np.pi * (1 + emotion) * time / 1.6)) * (0.4 + 0.6 * np.sin(np.pi * time / 1.6))
    tone = np.sin(2 * np.pi * (120 + 20 * emotion) * time) + 0.3 * rng.standard_normal(len(time))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.2 * swell * tone, 16_000, subtype="PCM_16")
