"""Where benchmarks lie and which side is scored, on synthetic corpora (files of a few bytes, named like the real ones)."""

import os

import pytest

from fas_core.errors import CorpusError
from fas_core.labels import EMOTIONS
from fas_core.sources import audio_digest
from fas_eval.benchmarks.clips import clips_of
from fas_eval.benchmarks.loading import digest_of_digests, load_benchmark
from fas_eval.benchmarks.locations import DataLocations


@pytest.fixture
def corpora(tmp_path):
    """A data root with EmoDB (60 clips and one of boredom), RAVDESS (24 actors) and a conflict manifest."""
    root = tmp_path / "data"
    for folder in ("emodb", "ravdess", "synthetic-conflict"):
        (root / folder).mkdir(parents=True)
    for i in range(60):
        name = f"{3 + i % 5:02d}a{i // 6:02d}{'WEAFTN'[i % 6]}a.wav"
        (root / "emodb" / name).write_bytes(name.encode())
    (root / "emodb" / "03a01La.wav").write_bytes(b"boredom")
    for actor in range(1, 25):
        for emotion in ("01", "03", "05"):
            name = f"03-01-{emotion}-01-01-01-{actor:02d}.wav"
            (root / "ravdess" / name).write_bytes(name.encode())
    rows = ["audio,emotion,semantic_emotion,speaker,split"]
    for i in range(24):
        (root / "synthetic-conflict" / f"{i}.wav").write_bytes(str(i).encode())
        tone, words = EMOTIONS[i % 3], EMOTIONS[(i % 3 + (i // 3) % 2) % 3]
        rows.append(f"{i}.wav,{tone},{words},{'ab'[i % 2]},test")
    (root / "synthetic-conflict" / "manifest.csv").write_text("\n".join(rows))
    return root


def load(name, root, **options):
    return load_benchmark(name, DataLocations(root), **options)


def test_a_corpus_never_seen_is_scored_whole_and_exclusions_are_counted(corpora):
    loaded = load("emodb", corpora, training_corpora=["ravdess"])
    assert (loaded.side, loaded.setting, len(loaded.dataset)) == ("all", "zero-shot", 60)
    assert loaded.excluded.total() == 1


def test_a_corpus_trained_on_is_scored_on_the_speakers_held_out(corpora):
    loaded = load("ravdess", corpora, training_corpora=["ravdess", "tess"], trained_fold=2)
    assert (loaded.side, loaded.setting, loaded.fold) == ("test", "in-domain", 2)
    assert set(loaded.dataset["speaker"]) == {"04", "10", "12", "14"}


def test_training_speakers_are_never_scored(corpora):
    with pytest.raises(CorpusError, match="--fold 2"):
        load("ravdess", corpora, training_corpora=["ravdess"], trained_fold=2, fold=3)
    with pytest.raises(CorpusError, match="--fold"):
        load("ravdess", corpora, training_corpora=["ravdess"])


def test_a_fold_may_be_asked_of_a_corpus_never_seen(corpora):
    assert len(load("ravdess", corpora).dataset) == 72
    assert set(load("ravdess", corpora, fold=1).dataset["speaker"]) == {"01", "11", "20", "21"}
    # the fold of the training corpus says nothing about a corpus that was not trained on
    assert len(load("ravdess", corpora, trained_fold=1).dataset) == 72


def test_places_that_do_not_exist_are_named_with_their_option(corpora, tmp_path):
    with pytest.raises(CorpusError, match=r"savee.*--data savee=DIR.*--data-root"):
        load("savee", corpora)
    with pytest.raises(CorpusError, match="--data-root DIR or --data emodb=DIR"):
        load_benchmark("emodb", DataLocations())
    with pytest.raises(CorpusError, match="manifest:PATH"):
        load("emodbb", corpora)
    moved = DataLocations(tmp_path / "nowhere", {"emodb": corpora / "emodb"})
    assert len(load_benchmark("emodb", moved).dataset) == 60


def test_a_manifest_anywhere_is_a_benchmark(corpora):
    loaded = load_benchmark(f"manifest:{corpora / 'synthetic-conflict' / 'manifest.csv'}", DataLocations())
    assert len(loaded.dataset) == 24 and loaded.benchmark.published == ""


def digest(loaded) -> str:
    return clips_of(loaded, progress=False).data_sha256  # none of these files is audio, and all of them count


def test_data_digest_follows_the_content_not_the_place(corpora, tmp_path):
    loaded = load("emodb", corpora)
    first = digest(loaded)
    rows = zip(loaded.dataset["id"], loaded.dataset["audio"], strict=True)
    pairs = [(clip, audio_digest(path)) for clip, path in rows]
    assert digest_of_digests(pairs) == digest_of_digests(pairs[::-1]) == first
    moved = corpora.rename(tmp_path / "moved")
    assert digest(load("emodb", moved)) == first
    next((moved / "emodb").glob("*Wa.wav")).write_bytes(b"other")
    assert digest(load("emodb", moved)) != first


def test_a_clip_that_went_away_changes_the_data_digest(corpora):
    loaded = load("emodb", corpora)
    first = digest(loaded)
    os.remove(loaded.dataset["audio"][0])
    assert digest(loaded) != first
