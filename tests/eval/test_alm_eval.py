"""Scoring of adapters and models: options, free text, baselines, the study."""

import json
import subprocess

import numpy as np
import pytest
import torch
from alm_corpus import train_fas, write_corpus
from alm_tiny import save_tiny_fas, save_tiny_language_model
from torch.utils.flop_counter import FlopCounterMode
from warm import PYTHON

from benchmarks import alm_train
from experiments import adapter as alm_study
from experiments import adapter_scores as alm
from experiments.adapter_scores import Wanted, evaluate, free_text, load_rows
from fas_alm import export_model
from fas_alm.conversations import Question
from fas_alm.scorer import Scorer
from fas_alm.training import adapter as run
from fas_core.errors import FASError


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A corpus, a trained tiny FAS and LLM, and an adapter that hears."""
    root = tmp_path_factory.mktemp("eval")
    corpus = write_corpus(root / "corpus", {"train": 8, "validation": 4, "test": 4}, ("angry", "happy", "sad"))
    save_tiny_language_model(root / "llm")
    train_fas(save_tiny_fas(root), corpus)
    flags = [
        "--corpora", f"manifest={corpus}", "--fas", str(root / "fas"), "--language_model", str(root / "llm"), "--cache_dir",
        str(root / "cache"), "--output_dir", str(root / "run"), "--use_cpu", "true", "--tasks", "choose", "--languages", "en",
        "--shuffled_options", "0", "--per_device_train_batch_size", "8", "--learning_rate", "1e-2", "--lora_dropout", "0",
        "--projector_learning_rate", "1e-2", "--stage1_epochs", "0", "--stage2_epochs", "30", "--disable_tqdm", "true",
    ]  # fmt: skip
    assert run.main(flags) == 0
    return root


@pytest.fixture(scope="module")
def scorer(place):
    return Scorer.from_directory(place / "run" / "adapter", place / "cache", language_model=str(place / "llm"))


@pytest.fixture(scope="module")
def rows(place):
    return load_rows([("manifest", place / "corpus")], "test", None)["manifest"]


def test_the_adapter_is_far_above_what_it_answers_without_audio(scorer, rows):
    hears, deaf = (evaluate(scorer, rows, Wanted(no_audio=value)) for value in (False, True))
    assert hears["alm"]["accuracy"] > 0.9 and hears["fas_accuracy"] > 0.9 and hears["clips"] == 12
    assert deaf["alm"]["accuracy"] < 0.5
    assert 0 < hears["alm"]["mass"] <= 1
    assert hears["alm"]["temperature"] == scorer.model.config.option_temperature


def test_scores_do_not_depend_on_the_batch_or_the_order(scorer, rows):
    audio = scorer.hearing(scorer.features(rows))
    messages = alm.asked(rows, Question("choose"))
    whole = scorer.options(audio, messages)
    one = Scorer(scorer.model, scorer.processor, scorer.extractor, scorer.cache_dir, batch_size=1)
    np.testing.assert_allclose(one.options(audio, messages[::-1])[::-1], whole, atol=1e-4)


def test_answers_are_written_for_each_clip_in_order(scorer, rows):
    audio = scorer.hearing(scorer.features(rows))
    result = evaluate(scorer, rows, Wanted(free_text="choose"))
    texts = scorer.write(audio, alm.asked(rows, Question("choose")))
    assert [p["text"] for p in result["predictions"]] == texts
    counts = result["free_text"]
    assert counts["exact"] + counts["repaired"] + counts["by_options"] == 12
    assert counts["accuracy"] > 0.9  # what is not read is answered by the options


def test_every_answer_is_one_of_the_seven_whatever_is_written():
    predictions = [dict(label="sad", emotion="sad") for _ in range(4)]
    counts = free_text(Question("choose"), ["F", "the answer is F", "bananas", "D"], predictions)
    assert counts == dict(task="choose", accuracy=0.75, exact=2, repaired=1, by_options=1)


def test_the_cascade_reads_transcripts_with_the_bare_llm(scorer, rows, monkeypatch):
    said = {row["audio"]: f"clip number {i}" for i, row in enumerate(rows)}
    asked = []

    def transcripts(files, whisper, cache_dir):
        asked.append(whisper)
        return said

    monkeypatch.setattr(alm, "transcripts", transcripts)
    result = evaluate(scorer, rows, Wanted(cascade=True, whisper="offline:tiny.en"))
    assert asked == ["offline:tiny.en"] and result["cascade"]["whisper"] == "offline:tiny.en"
    bare = Scorer(scorer.model, scorer.processor, scorer.extractor, scorer.cache_dir)
    with scorer.without_adapter():
        from fas_alm.prompts import transcript_prompt

        messages = [[{"role": "user", "content": transcript_prompt(said[row["audio"]])}] for row in rows]
        expected = bare.options(scorer.hearing(scorer.features(rows)), messages)
    mass = float(np.exp(expected).sum(1).mean())
    assert result["cascade"]["mass"] == pytest.approx(mass, rel=1e-3)
    assert result["alm"]["accuracy"] > 0.9  # LoRA is on again, and was for the options


def test_transcripts_are_decoded_once(place, rows):
    from fas_eval.systems.transcripts import transcripts

    files = [row["audio"] for row in rows[:3]]
    first = transcripts(files, str(place / "whisper"), place / "cache")
    assert set(first) == set(files) and all(isinstance(text, str) for text in first.values())
    store = next((place / "cache").glob("transcripts-*.json"))
    store.write_text(json.dumps(dict.fromkeys(json.loads(store.read_text()), "kept")))
    assert set(transcripts(files, str(place / "whisper"), place / "cache").values()) == {"kept"}


def test_transcribers_side_by_side_keep_each_others_texts(place, rows):
    from fas_eval.systems.transcripts import FileTranscripts

    (first, first_file), (second, second_file) = [
        (FileTranscripts(str(place / "whisper"), place / "shared", progress=False), row["audio"]) for row in rows[:2]
    ]
    for transcriber, file in ((first, first_file), (second, second_file)):
        transcriber.decoder = lambda clips: ["heard"] * len(clips)
        transcriber([file])
    assert len(json.loads(first.store.read_text())) == 2


def test_a_merged_model_scores_as_its_adapter(place, scorer, rows, monkeypatch):
    merged = export_model(place / "run" / "adapter", place / "merged", language_model=str(place / "llm"))
    whole = Scorer.from_directory(merged, place / "cache")
    expected, found = (evaluate(s, rows, Wanted())["alm"] for s in (scorer, whole))
    assert found["accuracy"] == expected["accuracy"] and found["mass"] == pytest.approx(expected["mass"], abs=1e-3)


def test_a_side_without_clips_and_clips_that_cannot_be_used_are_errors(place, scorer, tmp_path):
    empty = write_corpus(tmp_path / "c", {"train": 1}, ("sad",), seconds=0.1)
    with pytest.raises(FASError, match="no labelled clip with split 'test'"):
        load_rows([("manifest", empty)], "test", None)
    (tmp_path / "c" / "train-000.wav").write_bytes(b"no audio")
    rows = load_rows([("manifest", empty)], "all", None)["manifest"]
    with pytest.raises(FASError, match="none of the clips can be used"):
        evaluate(scorer, rows, Wanted())


# ---- the study -------------------------------------------------------------------------------------------------------


def record(system: str, seed: int | None, accuracy: float) -> dict:
    scores = dict(alm=dict(accuracy=accuracy, ua=accuracy, macro_f1=accuracy, mass=0.9), fas_accuracy=0.74, clips=10)
    if seed is not None:
        scores["free_text"] = dict(repaired=1, by_options=0)
    extra = {} if seed is None else {"train_seconds": 100.0}
    return dict(system=system, fold=1, seed=seed, scores={"ravdess": scores}) | extra


def test_the_table_has_mean_and_deviation_over_the_seeds():
    lines = alm_study.table([record("alm", 1, 0.7), record("cascade", None, 0.15), record("alm", 2, 0.8)]).splitlines()
    assert lines[2].startswith(
        "| ravdess | alm | 2 | 75.0 ± 7.1 / 75.0 ± 7.1 / 75.0 ± 7.1 | 74.0 ± 0.0 | 0.900 | 10.0 %, 0.0 % | 100"
    )
    assert lines[3].startswith("| ravdess | cascade | 1 | 15.0 / 15.0 / 15.0 |  | 0.900 |")


def test_a_study_goes_on_where_it_stopped(tmp_path, monkeypatch):
    ran = []

    def trained(arguments, system, seed):
        ran.append((system, seed))
        if len(ran) == 3:
            raise KeyboardInterrupt
        return {k: v for k, v in record(system, seed, 0.5).items() if k in ("scores", "train_seconds")}

    monkeypatch.setattr(alm_study, "trained", trained)
    monkeypatch.setattr(alm_study, "cascade", lambda _: dict(scores=record("cascade", None, 0.2)["scores"]))
    command = [
        "run",
        "--data-root",
        "data",
        "--output",
        str(tmp_path / "r.jsonl"),
        "--scratch",
        str(tmp_path),
        "--seeds",
        "1",
        "2",
    ]
    with pytest.raises(KeyboardInterrupt):
        alm_study.main(command)
    assert alm_study.main(command) == 0
    assert ran == [("alm", 1), ("alm", 2), ("no-audio", 1), ("no-audio", 1), ("no-audio", 2)]
    lines = (tmp_path / "r.jsonl").read_text().splitlines()
    assert [json.loads(line)["system"] for line in lines] == ["alm", "alm", "no-audio", "no-audio", "cascade"]
    assert alm_study.main(command) == 0 and len(ran) == 5


# ---- the benchmark of training ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", alm_train.MODES)
@pytest.mark.parametrize("share", [False, True])
def test_the_arithmetic_of_the_benchmark_is_what_a_step_computes(mode, share):
    size, cpu = alm_train.Size(64, 192, 2, 4, 2, 512), torch.device("cpu")
    answers = alm_train.build(size, mode, cpu, torch.float32, False)
    data = alm_train.batch(size, 4, 24, 12, share, cpu)
    with FlopCounterMode(display=False) as counter:
        answers(**data)["loss"].backward()
    expected = alm_train.flops(size, answers, 4, 24, 12, share, mode)
    assert counter.get_total_flops() == pytest.approx(expected, rel=0.15)


def test_the_benchmark_runs_as_a_toy_and_asks_for_a_gpu_otherwise(tmp_path):
    out = tmp_path / "alm_train.json"
    assert alm_train.main(["--quick", "--batch", "2", "--steps", "1", "--warmup", "0", "--output", str(out)]) == 0
    rows = json.loads(out.read_text())["rows"]
    assert [(r["mode"], r["shared_question"]) for r in rows] == [(m, s) for m in alm_train.MODES for s in (False, True)]
    assert all(r["tokens_per_second"] > 0 and 0 < r["mfu"] < 1 for r in rows)
    if not torch.cuda.is_available():
        assert alm_train.main(["--output", str(out)]) == 2


@pytest.mark.slow
def test_help_needs_no_data():
    assert subprocess.run([PYTHON, "-m", "experiments.adapter", "--help"], capture_output=True).returncode == 0
