"""Words in training: what the semantic head learns, that it is not there where it saw no words, and what old checkpoints say."""

import json
import logging
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_training import largest_difference, make_trainer, synthetic_clips, tiny_config, weights

from fas_core.checkpoint import is_head_untrained, load_model
from fas_core.errors import CheckpointError, FASError
from fas_core.labels import EMOTIONS
from fas_core.losses import classification_loss, label_weight
from fas_core.modeling_fas import FASForEmotionClassification
from fas_core.training import fas as run
from fas_core.training.arguments import DataArguments
from fas_core.training.card import words_line
from fas_core.training.clips import UNKNOWN, concatenate, one_hot
from fas_core.training.resume import clips_digest
from fas_core.training.words import WordsTeacher, tell_untrained, why_untrained
from fas_core.words.kept_transcripts import KeptTranscripts
from fas_core.words.transcript import Transcript

NEUTRAL, HAPPY = EMOTIONS.index("neutral"), EMOTIONS.index("happy")


def soft_clips(count, seed=0, **options):
    """Words of class w are w with 0.7, another class with 0.3."""
    clips = synthetic_clips(count, seed, **options)
    hard = one_hot(clips.semantic_labels)
    return clips.with_words(0.7 * hard + 0.3 * np.roll(hard, 1, axis=1))


class Reads:
    """A text model: "happy" anywhere is happy with 0.8, all else neutral with 0.9."""

    languages = ("en",)

    def __init__(self):
        self.read = []

    def __call__(self, texts):
        self.read += texts
        rows = np.full((len(texts), 7), 0.0)
        for row, text in zip(rows, texts, strict=True):
            top, p = (HAPPY, 0.8) if "happy" in text else (NEUTRAL, 0.9)
            row[:] = (1 - p) / 6
            row[top] = p
        return rows


def row(text=None, language="en", label=None, audio="a.wav"):
    return dict(audio=audio, text=text, language=language, semantic_emotion=label)


def said(text, language="en", **more):
    return Transcript(
        **(
            dict(text=text, language=language, confidence=0.9, language_probability=1, no_speech=0, compression_ratio=1)
            | more
        )
    )


class TestTargets:
    def test_text_model_of_the_corpus_text_and_labels_first(self):
        reads = Reads()
        rows = [
            row("a happy day"),
            row("a door"),
            row("a happy day", label="sad"),
            row("a happy day", "pl"),
            row("so happy", None),
            row(),
        ]
        targets, sources = WordsTeacher(reads)(rows, list("abcdef"))
        assert targets[0, HAPPY] == pytest.approx(0.8) and targets[1, NEUTRAL] == pytest.approx(0.9)
        assert targets[2].tolist() == one_hot(np.array([EMOTIONS.index("sad")]))[0].tolist()
        assert not targets[3:].any()
        assert sources == Counter({"text": 2, "label": 1, "language: pl": 1, "language: unknown": 1, "no text": 1})
        assert sorted(reads.read) == ["a door", "a happy day"]

    def test_transcripts_where_there_is_no_text(self):
        asked = []

        def transcribe(files):
            asked.append(files)
            found = {"b": said("so happy"), "c": said("mmm", unclear="unclear"), "d": said("dzień", "pl")}
            return {digest: found[digest] for digest in files if digest in found}

        rows = [row("a door"), row(None, None, audio="b.wav"), row(), row(None, None), row(None, "de"), row()]
        targets, sources = WordsTeacher(Reads(), transcribe)(rows, list("abcdef"))
        assert asked == [
            {"b": "b.wav", "c": "a.wav", "d": "a.wav", "f": "a.wav"}
        ]  # nothing is transcribed that nobody reads
        assert targets[1, HAPPY] == pytest.approx(0.8) and not targets[2:].any()
        assert sources == Counter(
            text=1, transcript=1, unclear=1, **{"language: pl": 1, "language: de": 1, "no text": 1}
        )

    def test_no_clips(self):
        targets, sources = WordsTeacher(Reads())([], [])
        assert targets.shape == (0, 7) and not sources

    def test_clips_with_words(self):
        clips = synthetic_clips(3).with_words(np.array([[0.2, 0.8, 0, 0, 0, 0, 0], [0.0] * 7, [1, 0, 0, 0, 0, 0, 0]]))
        assert clips.semantic_labels.tolist() == [1, UNKNOWN, 0] and clips.words.shape == (3, 7)
        both = concatenate([clips, synthetic_clips(2, words=False), synthetic_clips(2)])
        assert both.words.sum(1).tolist() == pytest.approx([1, 0, 1, 0, 0, 1, 1])
        assert concatenate([synthetic_clips(2), synthetic_clips(2)]).semantic_targets is None

    def test_the_semantic_stream_is_measured_by_all_clips_with_words(self):
        tone, words = synthetic_clips(8, words=False), synthetic_clips(8, seed=5)
        words.labels = np.full(8, UNKNOWN)
        plain = concatenate([tone, words]).statistics()
        ours = concatenate([tone, words.with_words(one_hot(words.semantic_labels))]).statistics()
        np.testing.assert_array_equal(plain["acoustic"].patches[0], ours["acoustic"].patches[0])
        everything = concatenate([tone, words]).statistics(only_labelled=False)
        np.testing.assert_array_equal(everything["semantic"].patches[0], ours["semantic"].patches[0])
        assert np.abs(plain["semantic"].patches[0] - ours["semantic"].patches[0]).max() > 0

    def test_other_targets_are_other_clips(self):
        clips = synthetic_clips(4)
        digests = {
            clips_digest(each) for each in (clips, soft_clips(4), clips.with_words(one_hot(clips.semantic_labels)))
        }
        assert len(digests) == 3


class TestLoss:
    logits = torch.randn(4, 7, generator=torch.manual_seed(0))
    output = SimpleNamespace(logits=torch.zeros(4, 7), acoustic_logits=None, semantic_logits=logits)
    unknown = torch.full((4,), -100)

    def test_one_hot_is_the_label(self):
        labels = torch.tensor([0, -100, 6, 3])
        soft = torch.from_numpy(one_hot(labels.numpy()))
        assert label_weight(soft, None) == label_weight(labels, None) == 3
        torch.testing.assert_close(
            classification_loss(self.output, self.unknown, soft), classification_loss(self.output, self.unknown, labels)
        )

    def test_probabilities(self):
        soft = torch.softmax(torch.randn(4, 7, generator=torch.manual_seed(1)), -1)
        torch.testing.assert_close(
            classification_loss(self.output, self.unknown, soft), F.cross_entropy(self.logits, soft)
        )


class TestLearning:
    @pytest.mark.parametrize("standardise", [True, False])  # fitted at once, or with all else
    def test_the_head_learns_how_sure_the_text_model_is(self, tmp_path, standardise):
        train, validation = soft_clips(200, seed=1), soft_clips(60, seed=9)
        settings = dict(
            epochs=1 if standardise else 10,
            learning_rate=3e-2,
            per_device_batch_size=32,
            global_batch_size=32,
            keep="last",
        )
        trainer = make_trainer(tmp_path, dict(standardise=standardise, dropout=0.0), train, validation, **settings)
        trainer.fit()
        summary = run.calibrate(trainer.raw_model, validation)
        assert summary["semantic"]["accuracy"] > 0.9
        logits = trainer.validate().semantic / trainer.raw_model.config.semantic_temperature
        p = torch.from_numpy(logits).softmax(-1).numpy()
        assert np.abs(p - validation.words).mean() < 0.06 and p.max(1).mean() < 0.8  # labels would have taught it 1

    @pytest.mark.parametrize("standardise", [True, False])
    def test_resumed_is_uninterrupted(self, tmp_path, standardise):
        model = dict(dropout=0.1, standardise=standardise)
        whole = make_trainer(tmp_path / "whole", model, soft_clips(21), epochs=3)
        whole.fit()
        half = make_trainer(tmp_path / "half", model, soft_clips(21), epochs=3)
        half.epochs = 2
        half.fit()
        again = make_trainer(tmp_path / "half", model, soft_clips(21), epochs=3, resume=True)
        again.fit()
        assert largest_difference(weights(whole), weights(again)) == 0
        other = make_trainer(tmp_path / "half", model, synthetic_clips(21), epochs=3, resume=True)
        with pytest.raises(CheckpointError, match="training clips"):
            other.fit()


class TestUntrained:
    def test_when(self):
        clips = synthetic_clips(40)
        assert why_untrained(clips) is None
        assert "nothing says" in why_untrained(synthetic_clips(40, words=False))
        clips.semantic_labels[:] = NEUTRAL
        clips.semantic_labels[0] = HAPPY
        assert "39 of 40" in why_untrained(clips) and "neutral" in why_untrained(clips)
        clips.semantic_labels[:4] = HAPPY
        assert why_untrained(clips) is None

    def test_the_head_is_not_there(self, tmp_path, caplog):
        with caplog.at_level(logging.WARNING):
            tell_untrained("so")
        assert "not trained" in caplog.text and "--words_from" in caplog.text
        trainer = make_trainer(tmp_path, dict(semantic_head="untrained"), synthetic_clips(20, words=False), epochs=1)
        trainer.fit()
        assert list(trainer.raw_model.pathway) == ["acoustic"]
        logits = run.predict_logits(trainer.raw_model, lambda i: trainer.train_clips.features(i, ""), trainer.lengths)
        assert np.isnan(logits.semantic).all() and np.isfinite(logits.acoustic).all()
        trainer.raw_model.config.streams = {}
        trainer.raw_model.save_pretrained(tmp_path / "saved")
        assert list(load_model(tmp_path / "saved").pathway) == ["acoustic"]

    def test_all_else_is_as_with_it(self, tmp_path):
        trained = [
            make_trainer(tmp_path / head, dict(semantic_head=head), synthetic_clips(20, words=False))
            for head in ("trained", "untrained")
        ]
        for trainer in trained:
            trainer.fit()
        plain, ours = map(weights, trained)
        assert largest_difference({k: v for k, v in plain.items() if k in ours}, ours) == 0

    def test_the_card_says_so(self):
        result = {"wordless": "no words", "data": {"corpora": []}}
        assert "not trained" in words_line(result) and "no words" in words_line(result)
        taught = {"wordless": None, "data": {"corpora": [{"words": {"text": 3}}, {"words": {"text": 2, "no text": 1}}]}}
        assert "text 5, no text 1" in words_line(taught)

    def test_other_heads_are_an_error(self):
        with pytest.raises(CheckpointError, match="semantic_head"):
            tiny_config(semantic_head="half")


class TestOldCheckpoints:
    FIGURES = {"fused": {}, "acoustic": {}}

    @pytest.mark.parametrize(
        ("record", "untrained"),
        [
            ({}, False),
            ({"validation": {}}, False),
            ({"validation": FIGURES}, True),
            ({"validation": FIGURES | {"semantic": {}}}, False),
            ({"validation": FIGURES, "data": {"corpora": [{"corpus": "m", "learns": "words"}]}}, False),
        ],
    )
    def test_what_the_record_says(self, tmp_path, record, untrained):
        model = FASForEmotionClassification(tiny_config(streams={}))
        model.save_pretrained(tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        assert not is_head_untrained(config, record)  # it says itself that it is trained
        del config["semantic_head"]
        (tmp_path / "config.json").write_text(json.dumps(config))
        (tmp_path / "training.json").write_text(json.dumps(record))
        loaded = load_model(tmp_path)
        assert ("semantic" not in loaded.pathway) == untrained == (loaded.config.semantic_head == "untrained")
        for name, tensor in loaded.state_dict().items():
            assert torch.equal(tensor, model.state_dict()[name])


class TestTranscripts:
    """A transcriber that says how long a clip is."""

    @pytest.fixture
    def parts(self, tmp_path):
        from synthetic import write_clips

        heard = []

        def with_frames(samples):
            heard.append(len(samples))
            return None, [torch.zeros(len(each), 1) for each in samples]

        class Transcriber:
            decoder = SimpleNamespace(decoder=torch.nn.Linear(1, 1), head=SimpleNamespace(weight=torch.zeros(1)))
            languages = ("en",)

            def __init__(self):
                from fas_core.words.transcript import Limits

                self.limits = Limits()

            def __call__(self, clips):
                return [said(f"{len(clip)} samples") for clip in clips]

        rows = write_clips(tmp_path / "audio", [0.2, 0.3, 0.4, 0.5, 0.6])
        files = {row["id"]: row["audio"] for row in rows}
        return tmp_path, SimpleNamespace(with_frames=with_frames), Transcriber(), files, heard

    def test_written_once(self, parts):
        folder, extractor, transcriber, files, heard = parts
        found = KeptTranscripts(folder, extractor, transcriber)(files)
        assert {k: v.text for k, v in found.items()}["001"] == "4800 samples" and len(found) == 5 and sum(heard) == 5
        assert KeptTranscripts(folder, extractor, transcriber)(files) == found and sum(heard) == 5

    def test_damage_shows_and_is_mended(self, parts, caplog):
        folder, extractor, transcriber, files, heard = parts
        found = KeptTranscripts(folder, extractor, transcriber)(files)
        (path,) = (folder / "transcripts").iterdir()
        path.write_text(path.read_text().replace("4800", "4801"))
        assert KeptTranscripts(folder, extractor, transcriber)(files) == found and sum(heard) == 10
        assert "damaged" in caplog.text

    def test_processes_share_and_a_bad_file_has_none(self, parts, monkeypatch):
        from fas_core.words import kept_transcripts

        folder, extractor, transcriber, files, heard = parts
        monkeypatch.setattr(kept_transcripts, "AT_ONCE", 2)
        files["bad"] = str(folder / "nothing.wav")
        shares = [KeptTranscripts(folder / str(i), extractor, transcriber, (i, 2))(files) for i in (0, 1)]
        assert [sorted(share) for share in shares] == [
            ["000", "001", "004"],
            ["002", "003"],
        ]  # the bad one is in neither

        def other():  # the other process has written its share when both go on
            for path in (folder / "1" / "transcripts").iterdir():
                path.rename(folder / "0" / "transcripts" / path.name)

        assert sorted(KeptTranscripts(folder / "0", extractor, transcriber, (0, 2), lambda: other() if heard else None)(files)) == [
            "000", "001", "002", "003", "004",
        ]  # fmt: skip


def test_the_option():
    with pytest.raises(FASError, match="--words_from 'speech' is unknown, expected one of none, corpus, transcript"):
        DataArguments(words_from="speech")
