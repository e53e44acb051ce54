"""Readers on trees of each official layout (empty files: readers do not decode), and on real corpora."""

import csv
import json
import logging
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from corpus_layouts import MAKERS as MORE_MAKERS
from corpus_layouts import touch, write
from repository import SPEECH

from fas_core.data import COLUMNS, CORPORA, assign_speaker_splits, load_corpus, read_corpus
from fas_core.data.splits import fold_splits, ravdess_folds, speakers_on_two_sides
from fas_core.errors import CorpusError
from fas_core.labels import EMOTIONS
from fas_core.segments import file_of

# Their official splits divide sentences (ESD) or dialogues (MELD), not speakers: see docs/corpora.md.
SPEAKERS_ON_EVERY_SIDE = {"esd", "meld"}
NAMED_IN_A_TABLE = {"case", "emo-emilia", "manifest", "listen", "humdial-conflict"}  # file names with their endings


def make_ravdess(root):
    for actor in range(1, 25):
        for emotion in ("01", "02", "05"):
            touch(root, f"Actor_{actor:02d}/03-01-{emotion}-01-02-01-{actor:02d}.wav")


def make_tess(root):
    touch(root, "OAF_Fear/OAF_back_fear.wav", "OAF_Pleasant_surprise/OAF_bar_ps.wav", "YAF_sad/YAF_back_sad.wav")


def make_emodb(root):
    touch(root, "wav/03a01Fa.wav", "wav/03a01La.wav", "wav/16b10Wb.wav")


def make_urdu(root):
    touch(root, "Angry/SM1_F10_A010.wav", "Happy/SF2_F3_H03.wav", "Neutral/SM1_F1_N01.wav", "Sad/SM4_F2_S02.wav")


def make_emovo(root):
    touch(root, *(f"{actor}/{code}-{actor}-b1.wav" for actor in ("f1", "m3") for code in ("dis", "gio", "tri")))


def make_crema_d(root):
    touch(root, *(f"AudioWAV/{actor}_DFA_ANG_XX.wav" for actor in range(1001, 1092)))


def make_savee(root):
    touch(
        root,
        *(f"{speaker}/{code}01.wav" for speaker in ("DC", "JE", "JK", "KL") for code in ("a", "sa", "su")),
    )


def make_esd(root):
    for speaker in ("0001", "0011"):
        files = (f"train/{speaker}_000401", f"evaluation/{speaker}_000351", f"test/{speaker}_000371")
        touch(root, *(f"{speaker}/Angry/{file}.wav" for file in files))
    write(root / "0001/0001.txt", "0001_000401\t打远一看\t生气\n", "gb18030")
    write(root / "0011/0011.txt", "0011_000401\tThe nine\tAngry\n0011_000351\tI keep\tAngry\n", "utf-16")


def make_meld(root):
    header = ["Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID"]
    clips = {
        "train": "train/train_splits",
        "dev": "dev_splits_complete",
        "test": "output_repeated_splits_test",
    }
    for part, folder in clips.items():
        root.mkdir(parents=True, exist_ok=True)
        with (root / f"{part}_sent_emo.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(header)
            rows.writerow([1, "Oh, really?", "Phoebe", "joy", "positive", 0, 0])
            rows.writerow([2, "What?", "Guest", "surprise", "negative", 0, 1])
        touch(
            root,
            f"{folder}/dia0_utt0.mp4",
            f"{folder}/._dia0_utt1.mp4",
            f"{folder}/final_videos_testdia0_utt1.mp4",
        )
    touch(root, "train/train_splits/dia0_utt0.wav", "train/train_splits/dia0_utt1.wav")


def make_iemocap(root):
    for session in range(1, 6):
        dialogue = f"Ses{session:02d}F_impro01"
        labels = {f"{dialogue}_F000": "neu", f"{dialogue}_M000": "exc", f"{dialogue}_M001": "fru"}
        lines = [f"[6.2901 - 8.2357]\t{turn}\t{label}\t[2.5000, 2.5000, 2.5000]" for turn, label in labels.items()]
        folder = root / f"Session{session}"
        head = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
        write(folder / f"dialog/EmoEvaluation/{dialogue}.txt", head + "\nC-E2:\tNeutral;\t()\n".join(lines))
        write(
            folder / f"dialog/transcriptions/{dialogue}.txt",
            f"{dialogue}_F000 [006.2901-008.2357]: Excuse me.\n",
        )
        touch(folder, *(f"sentences/wav/{dialogue}/{turn}.wav" for turn in labels))


def make_case(root):
    touch(root, "audio/1.wav", "audio/2.wav")
    write(
        root / "case.csv",
        "file,text,acoustic_emotion,semantic_emotion,voice\n"
        'audio/1.wav,"Great, I won",sad,happy,v1\naudio/2.wav,He left me,happy,sad,v2\n',
    )


def make_emo_emilia(root):
    names = ("ZH_B00090_S00350_W000000", "EN_B00031_S08754_W000092")
    rows = [{"index": n, "emotion": "surprised", "wav": f"./Emo-Emilia/{n}.wav", "text": " Oh "} for n in names]
    write(root / "Emo-Emilia-ALL.jsonl", "\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    touch(root, *(f"{name}.wav" for name in names))


def make_manifest(root):
    touch(root, *(f"{number}.wav" for number in range(20)))
    rows = [{"audio": f"{n}.wav", "emotion": "joy", "speaker": f"s{n % 10}", "corpus": "mine"} for n in range(20)]
    write(root / "manifest.jsonl", "\n".join(map(json.dumps, rows)))


MAKERS = {
    "ravdess": make_ravdess,
    "tess": make_tess,
    "emodb": make_emodb,
    "urdu": make_urdu,
    "emovo": make_emovo,
    "crema-d": make_crema_d,
    "savee": make_savee,
    "esd": make_esd,
    "meld": make_meld,
    "iemocap": make_iemocap,
    "case": make_case,
    "emo-emilia": make_emo_emilia,
    "manifest": make_manifest,
    **MORE_MAKERS,
}


def rows_of(name, root, **options):
    reading = read_corpus(name, root, **options)
    return {row["id"].split("/", 1)[1]: row for row in reading.dataset}, reading.excluded


@pytest.fixture(params=MAKERS)
def made(request, tmp_path):
    """One corpus of each layout: its name and folder."""
    MAKERS[request.param](tmp_path)
    return request.param, tmp_path


class TestEveryCorpus:
    def test_every_reader_is_tried(self):
        assert set(MAKERS) == set(CORPORA)

    def test_columns_and_values(self, made):
        name, root = made
        dataset = load_corpus(name, root)
        assert tuple(dataset.column_names) == COLUMNS
        assert {feature.dtype for feature in dataset.features.values()} == {"string"}
        for row in dataset:
            assert row["emotion"] in EMOTIONS and row["semantic_emotion"] in (*EMOTIONS, None)
            assert row["split"] in ("train", "validation", "test")
            assert os.path.isabs(row["audio"]) and os.path.isfile(file_of(row["audio"]))
            assert row["id"].startswith(row["corpus"] + "/")
        assert len(set(dataset["id"])) == len(dataset)
        assert not dataset.cache_files  # in memory: a read-only or full disk does not matter

    def test_no_speaker_on_two_sides(self, made):
        name, root = made
        mixed = speakers_on_two_sides(load_corpus(name, root))
        assert bool(mixed) == (name in SPEAKERS_ON_EVERY_SIDE)

    def test_reading_does_not_depend_on_where_the_corpus_lies(self, made, tmp_path_factory):
        name, root = made
        elsewhere = tmp_path_factory.mktemp("elsewhere") / "test" / "sentences" / "Happy"
        shutil.copytree(root, elsewhere)
        here, there = (load_corpus(name, place).remove_columns("audio") for place in (root, elsewhere))
        assert here.to_list() == there.to_list()

    @pytest.mark.parametrize("made", sorted(set(MAKERS) - NAMED_IN_A_TABLE), indirect=True)
    def test_flac_instead_of_wav(self, made):
        name, root = made
        before = load_corpus(name, root).remove_columns("audio").to_list()
        for path in list(root.rglob("*.wav")):
            path.rename(path.with_suffix(".FLAC"))
        assert load_corpus(name, root).remove_columns("audio").to_list() == before

    def test_another_folder_is_refused_with_the_layout(self, made, tmp_path):
        name, _ = made
        empty = tmp_path / "nothing here"
        empty.mkdir()
        with pytest.raises(CorpusError) as error:
            read_corpus(name, empty)
        assert str(empty) in str(error.value) and "expected" in str(error.value)
        with pytest.raises(CorpusError, match="no such folder"):
            read_corpus(name, tmp_path / "missing")

    def test_unknown_option_names_those_that_exist(self, made):
        name, root = made
        with pytest.raises(CorpusError, match=f"{name}: no option colour; it takes"):
            read_corpus(name, root, colour="red")

    def test_clips_of_an_exclusion_list_are_left_out(self, made, tmp_path_factory):
        name, root = made
        first = load_corpus(name, root)[0]
        listed = tmp_path_factory.mktemp("list") / "exclusions.json"
        relative = Path(first["audio"]).relative_to(root).as_posix()
        write(listed, json.dumps({"version": 1, "files": {relative: "digital silence"}}))
        kept = load_corpus(name, root, exclude=listed)
        assert first["id"] not in kept["id"] and len(kept) == len(load_corpus(name, root)) - 1


def test_wrong_folder_names_an_example(tmp_path):
    touch(tmp_path, "song.wav")
    with pytest.raises(CorpusError, match="file name of another form: 1.*Actor_01/03-01-05-01-01-01-01.wav"):
        read_corpus("ravdess", tmp_path)


def test_unknown_corpus():
    with pytest.raises(CorpusError, match="'radvess'.*ravdess"):
        read_corpus("radvess", ".")


def test_a_second_copy_is_counted_and_wav_preferred(tmp_path):
    make_emodb(tmp_path)
    touch(tmp_path, "wav/03a01Fa.mp3", "again/wav/16b10Wb.wav")
    rows, excluded = rows_of("emodb", tmp_path)
    assert excluded == {"second copy of a clip": 2, "boredom has no place": 1}
    assert rows["03a01Fa"]["audio"].endswith("wav/03a01Fa.wav")


def test_count_of_what_is_left_out_is_logged(tmp_path, caplog):
    make_emodb(tmp_path)
    with caplog.at_level(logging.INFO):
        load_corpus("emodb", tmp_path)
    assert [r.getMessage() for r in caplog.records] == ["emodb: 2 clips, 1 left out (boredom has no place: 1)"]
    touch(tmp_path, "wav/03a01Qa.wav")
    caplog.clear()
    load_corpus("emodb", tmp_path, exclude_labels=["*"])
    assert "unknown label: Q: 1" in caplog.text and caplog.records[0].levelno == logging.WARNING


class TestRavdess:
    def test_fields(self, tmp_path):
        make_ravdess(tmp_path)
        rows, excluded = rows_of("ravdess", tmp_path)
        clip = rows["03-01-02-01-02-01-07"]
        assert (clip["emotion"], clip["speaker"], clip["language"]) == ("neutral", "07", "en")
        assert clip["text"] == "Dogs are sitting by the door" and clip["semantic_emotion"] is None
        assert not excluded

    @pytest.mark.parametrize("fold", range(1, 7))
    def test_folds(self, tmp_path, fold):
        make_ravdess(tmp_path)
        dataset = load_corpus("ravdess", tmp_path, fold=fold)
        folds = ravdess_folds()
        sides = {split: {r["speaker"] for r in dataset if r["split"] == split} for split in set(dataset["split"])}
        assert sides["test"] == set(folds[fold]) and sides["validation"] == set(folds[fold % 6 + 1])
        assert len(sides["train"]) == 16 and not speakers_on_two_sides(dataset)

    def test_six_folds_hold_each_speaker_once(self):
        held_out = [speaker for speakers in ravdess_folds().values() for speaker in speakers]
        assert sorted(held_out) == [f"{actor:02d}" for actor in range(1, 25)]

    def test_without_a_fold_it_is_the_first(self, tmp_path):
        make_ravdess(tmp_path)
        assert load_corpus("ravdess", tmp_path).to_list() == load_corpus("ravdess", tmp_path, fold=1).to_list()

    @pytest.mark.parametrize("fold", [0, 7, "1"])
    def test_no_such_fold(self, tmp_path, fold):
        make_ravdess(tmp_path)
        with pytest.raises(CorpusError, match="fold=.*1 to 6"):
            load_corpus("ravdess", tmp_path, fold=fold)

    def test_songs_and_videos_are_counted(self, tmp_path):
        make_ravdess(tmp_path)
        touch(tmp_path, "Actor_01/03-02-05-01-01-01-01.wav", "Actor_01/01-01-05-01-01-01-01.mp4")
        touch(tmp_path, "Actor_01/03-01-09-01-01-01-01.wav")
        _, excluded = rows_of("ravdess", tmp_path, exclude_labels=["09"])
        assert excluded == {"song": 1, "video of an audio-only clip": 1, "label left out: 09": 1}


class TestTess:
    def test_flat_layout_and_the_odd_name_of_the_release(self, tmp_path):
        touch(tmp_path, "OAF_mob_angry.wav", "OA_bite_neutral.wav", "YAF/YAF_youth_ps.wav")
        rows, _ = rows_of("tess", tmp_path)
        assert rows["OAF_bite_neutral"]["speaker"] == "OAF" and rows["YAF_youth_ps"]["emotion"] == "surprise"
        assert rows["OAF_mob_angry"]["text"] == "Say the word mob"
        assert {row["split"] for row in rows.values()} == {"train"}

    def test_split_by_speaker(self, tmp_path):
        make_tess(tmp_path)
        dataset = load_corpus("tess", tmp_path, split_by="speaker")
        assert set(dataset["split"]) == {"train", "test"} and not speakers_on_two_sides(dataset)
        with pytest.raises(CorpusError, match="split_by='word'"):
            load_corpus("tess", tmp_path, split_by="word")

    def test_has_no_folds(self, tmp_path):
        make_tess(tmp_path)
        with pytest.raises(CorpusError, match="tess: no option fold; it takes split_by"):
            load_corpus("tess", tmp_path, fold=1)


def test_emodb_fields(tmp_path):
    make_emodb(tmp_path)
    clip = rows_of("emodb", tmp_path)[0]["16b10Wb"]
    assert (clip["speaker"], clip["emotion"], clip["language"], clip["split"]) == (
        "16",
        "angry",
        "de",
        "test",
    )
    assert clip["text"] == "Die wird auf dem Platz sein, wo wir sie immer hinlegen."


def test_emovo_and_urdu_fields(tmp_path):
    make_emovo(tmp_path / "emovo")
    make_urdu(tmp_path / "urdu")
    italian = rows_of("emovo", tmp_path / "emovo")[0]["gio-m3-b1"]
    assert (italian["emotion"], italian["speaker"], italian["language"]) == ("happy", "m3", "it")
    assert italian["text"] == "Gli operai si alzano presto."
    urdu = rows_of("urdu", tmp_path / "urdu")[0]["SF2_F3_H03"]
    assert (urdu["emotion"], urdu["speaker"], urdu["language"], urdu["split"]) == (
        "happy",
        "SF2",
        "ur",
        "test",
    )


def test_crema_d_divides_a_part_as_the_whole(tmp_path):
    make_crema_d(tmp_path / "whole")
    whole = rows_of("crema-d", tmp_path / "whole")[0]
    assert Counter(row["split"] for row in whole.values()) == {"train": 64, "validation": 14, "test": 13}
    assert whole["1001_DFA_ANG_XX"]["text"] == "Don't forget a jacket"
    touch(tmp_path / "part", "AudioWAV/1001_DFA_ANG_XX.wav", "AudioWAV/1050_IEO_SAD_HI.wav")
    touch(tmp_path / "part", "AudioMP3/1001_DFA_ANG_XX.mp3")  # the archive holds every clip in both formats
    part, excluded = rows_of("crema-d", tmp_path / "part")
    assert part["1001_DFA_ANG_XX"]["split"] == whole["1001_DFA_ANG_XX"]["split"]
    assert part["1050_IEO_SAD_HI"]["split"] == whole["1050_DFA_ANG_XX"]["split"]
    assert excluded == {"second copy of a clip": 1}


def test_savee_flat_is_savee_by_folder(tmp_path):
    make_savee(tmp_path / "folders")
    for path in (tmp_path / "folders").rglob("*.wav"):
        touch(tmp_path / "flat", f"{path.parent.name}_{path.name}")
    folders, flat = (rows_of("savee", tmp_path / layout)[0] for layout in ("folders", "flat"))
    assert {key: row["split"] for key, row in folders.items()} == {key: row["split"] for key, row in flat.items()}
    assert Counter(split_of(folders).values()) == {"train": 2, "validation": 1, "test": 1}
    assert flat["KL_sa01"]["emotion"] == "sad" and flat["KL_a01"]["emotion"] == "angry"


def split_of(rows):
    return {row["speaker"]: row["split"] for row in rows.values()}


class TestEsd:
    def test_official_split_language_and_texts_in_their_encodings(self, tmp_path):
        make_esd(tmp_path)
        rows, _ = rows_of("esd", tmp_path)
        assert [rows[f"0011_{n}"]["split"] for n in ("000401", "000351", "000371")] == [
            "train",
            "validation",
            "test",
        ]
        assert rows["0001_000401"]["text"] == "打远一看" and rows["0001_000401"]["language"] == "zh"
        assert rows["0011_000351"]["text"] == "I keep" and rows["0011_000351"]["language"] == "en"
        assert rows["0011_000371"]["text"] is None

    def test_release_without_split_folders_divides_alike(self, tmp_path):
        touch(tmp_path, *(f"0011/Neutral/0011_{number:06d}.wav" for number in range(1, 351)))
        touch(tmp_path, *(f"0011/Angry/0011_{number:06d}.wav" for number in range(351, 701)))
        rows, _ = rows_of("esd", tmp_path)
        counts = Counter((row["emotion"], row["split"]) for row in rows.values())
        assert {counts[e, "validation"] for e in ("neutral", "angry")} == {20}
        assert {counts[e, "test"] for e in ("neutral", "angry")} == {30}
        assert {counts[e, "train"] for e in ("neutral", "angry")} == {300}


class TestMeld:
    def test_official_split_and_missing_clips(self, tmp_path):
        make_meld(tmp_path)
        rows, excluded = rows_of("meld", tmp_path)
        assert {key: row["split"] for key, row in rows.items()} == {
            "train_dia0_utt0": "train",
            "train_dia0_utt1": "train",
            "dev_dia0_utt0": "validation",
            "test_dia0_utt0": "test",
        }
        assert excluded == {"audio file missing": 2}  # neither ._dia0_utt1 nor final_videos_testdia0_utt1 is it
        assert rows["train_dia0_utt0"]["audio"].endswith(".wav")  # extracted audio before the video
        assert (rows["dev_dia0_utt0"]["text"], rows["dev_dia0_utt0"]["speaker"]) == ("Oh, really?", "Phoebe")

    def test_row_without_an_emotion_is_named(self, tmp_path):
        make_meld(tmp_path)
        write(tmp_path / "dev_sent_emo.csv", "Utterance,Speaker,Dialogue_ID,Utterance_ID\nHi,Joey,0,0\n")
        with pytest.raises(CorpusError, match="dev_sent_emo.csv, line 2: no emotion"):
            read_corpus("meld", tmp_path)


class TestIemocap:
    def test_speaker_is_who_talks_and_sessions_stay_whole(self, tmp_path):
        make_iemocap(tmp_path)
        rows, excluded = rows_of("iemocap", tmp_path)
        assert rows["Ses01F_impro01_M000"]["speaker"] == "Ses01M"
        assert rows["Ses01F_impro01_M000"]["emotion"] == "happy"
        assert rows["Ses01F_impro01_F000"]["text"] == "Excuse me."
        assert excluded == {"frustration has no place": 5}
        sides = {key[:5]: row["split"] for key, row in rows.items()}
        assert list(sides.values()) == ["test", "validation", "train", "train", "train"]

    def test_last_fold(self, tmp_path):
        make_iemocap(tmp_path)
        dataset = load_corpus("iemocap", tmp_path, fold=5)
        assert {row["speaker"] for row in dataset if row["split"] == "test"} == {"Ses05F", "Ses05M"}
        assert {row["speaker"] for row in dataset if row["split"] == "validation"} == {"Ses01F", "Ses01M"}


def test_case_keeps_both_emotions(tmp_path):
    make_case(tmp_path)
    clip = rows_of("case", tmp_path)[0]["audio/1.wav"]
    assert (clip["emotion"], clip["semantic_emotion"], clip["text"]) == ("sad", "happy", "Great, I won")
    assert (clip["speaker"], clip["split"]) == ("v1", "test")


def test_emo_emilia_names_tell_language_and_speaker(tmp_path):
    make_emo_emilia(tmp_path)
    clip = rows_of("emo-emilia", tmp_path)[0]["EN_B00031_S08754_W000092"]
    assert (clip["speaker"], clip["language"], clip["text"]) == ("EN_B00031_S08754", "en", "Oh")
    assert (clip["emotion"], clip["split"]) == ("surprise", "test")


class TestManifest:
    def read(self, root, rows, name="manifest.csv", **options):
        columns = list(dict.fromkeys(key for row in rows for key in row))
        lines = [",".join(columns)] + [",".join(row.get(column, "") for column in columns) for row in rows]
        write(root / name, "\n".join(lines))
        touch(root, *(row["audio"] for row in rows if row.get("audio", "missing") != "missing"))
        return rows_of("manifest", root, **options)

    def test_formats_agree(self, tmp_path):
        rows = [
            {
                "audio": "a.wav",
                "emotion": "Anger",
                "text": "no, no",
                "semantic_emotion": "sad",
                "split": "dev",
            }
        ]
        touch(tmp_path, *(f"{form}/a.wav" for form in ("csv", "tsv", "jsonl", "json")))
        write(
            tmp_path / "csv/manifest.csv",
            '\ufeffAudio,Emotion,text,semantic_emotion,split\na.wav,Anger,"no, no",sad,dev',
        )
        write(
            tmp_path / "tsv/mine.tsv",
            "audio\temotion\ttext\tsemantic_emotion\tsplit\na.wav\tAnger\tno, no\tsad\tdev",
        )
        write(tmp_path / "jsonl/m.jsonl", json.dumps(rows[0]) + "\n\n")
        write(tmp_path / "json/m.json", json.dumps(rows))
        read = [load_corpus("manifest", tmp_path / form) for form in ("csv", "tsv", "jsonl", "json")]
        read = [dataset.remove_columns("audio").to_list() for dataset in read]
        assert all(other == read[0] for other in read)
        assert read[0][0]["split"] == "validation" and read[0][0]["semantic_emotion"] == "sad"
        assert read[0][0]["text"] == "no, no" and read[0][0]["speaker"] is None

    def test_the_table_itself_may_be_given(self, tmp_path):
        self.read(tmp_path, [{"audio": "a.wav", "emotion": "sad"}])
        self.read(tmp_path, [{"audio": "b.wav", "emotion": "sad"}], name="other.csv", table="other.csv")
        assert load_corpus("manifest", tmp_path / "other.csv")["id"] == ["manifest/b.wav"]
        assert load_corpus("manifest", tmp_path)["id"] == ["manifest/a.wav"]

    def test_labels_of_a_named_corpus(self, tmp_path):
        rows = [
            {"audio": "a.wav", "emotion": "ps", "corpus": "tess"},
            {"audio": "b.wav", "emotion": "exc", "corpus": "iemocap"},
            {"audio": "c.wav", "emotion": "fru", "corpus": "iemocap"},
            {"audio": "d.wav", "emotion": "exc", "corpus": "mine"},
        ]
        with pytest.raises(
            CorpusError, match=r"unknown label 'exc' \(1 times, first manifest.csv, line 5\).*exclude_labels"
        ):
            self.read(tmp_path, rows)
        read, excluded = self.read(tmp_path, rows, exclude_labels=["*"])
        assert {key: row["emotion"] for key, row in read.items()} == {"a.wav": "surprise", "b.wav": "happy"}
        assert excluded == {"frustration has no place": 1, "unknown label: exc": 1}

    def test_divided_by_speaker_without_a_split(self, tmp_path):
        make_manifest(tmp_path)
        dataset = load_corpus("manifest", tmp_path)
        assert Counter(dataset["split"]) == {"train": 14, "validation": 4, "test": 2}
        assert not speakers_on_two_sides(dataset)

    def test_speaker_on_two_sides_is_said(self, tmp_path, caplog):
        rows = [{"audio": f"{s}.wav", "emotion": "sad", "speaker": "x", "split": s} for s in ("train", "test")]
        self.read(tmp_path, rows)
        assert "1 speakers are on two sides" in caplog.text

    def test_missing_audio_is_counted(self, tmp_path):
        touch(tmp_path, "a.wav")
        write(tmp_path / "m.csv", "audio,emotion\na.wav,sad\ngone.wav,sad\n")
        assert rows_of("manifest", tmp_path)[1] == {"audio file missing": 1}

    def test_semantic_emotion_without_a_place_is_said_and_the_clip_kept(self, tmp_path, caplog):
        rows = [{"audio": "a.wav", "emotion": "sad", "semantic_emotion": "irony"}]
        with pytest.raises(CorpusError, match="unknown label 'irony'"):
            self.read(tmp_path, rows)
        read, _ = self.read(tmp_path, rows, exclude_labels=["*"])
        assert read["a.wav"]["semantic_emotion"] is None and "irony: 1" in caplog.text

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("emotion\nsad\n", "line 2: no audio or file"),
            ("audio,emotion\na.wav,\n", "line 2: no emotion"),
            ("audio,emotion,split\na.wav,sad,later\n", "line 2: split 'later'; expected train"),
            ("audio,emotion\n", "no rows"),
        ],
    )
    def test_bad_table(self, tmp_path, text, message):
        write(tmp_path / "m.csv", text)
        with pytest.raises(CorpusError, match=message):
            read_corpus("manifest", tmp_path)

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("m.jsonl", b'{"audio": "a.wav", "emotion": "sad"}\n{"audio":', "m.jsonl, line 2: not JSON"),
            ("m.jsonl", b"[1]\n", "m.jsonl, line 1: expected an object"),
            ("m.json", b"{}", "m.json: expected a JSON list"),
            ("m.csv", b"audio,emotion\n\xff\xfe,sad\n", "m.csv, line 2: not UTF-8"),
        ],
    )
    def test_damaged_table(self, tmp_path, name, content, message):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CorpusError, match=message):
            read_corpus("manifest", tmp_path)

    def test_several_tables(self, tmp_path):
        touch(tmp_path, "one.csv", "two.csv")
        with pytest.raises(CorpusError, match="found one.csv, two.csv.*table="):
            read_corpus("manifest", tmp_path)


class TestSpeakerSplits:
    def test_deterministic_and_blind_to_order(self):
        speakers = [f"s{n}" for n in range(40)]
        assert assign_speaker_splits(speakers) == assign_speaker_splits(reversed(speakers + speakers))
        assert assign_speaker_splits(speakers) != assign_speaker_splits(speakers, seed=1)

    @pytest.mark.parametrize(
        ("count", "sizes"),
        [
            (0, (0, 0, 0)),
            (1, (1, 0, 0)),
            (2, (1, 0, 1)),
            (3, (1, 1, 1)),
            (4, (2, 1, 1)),
            (20, (14, 3, 3)),
            (91, (64, 14, 13)),
        ],
    )
    def test_sizes(self, count, sizes):
        side = Counter(assign_speaker_splits(f"s{n}" for n in range(count)).values())
        assert (side["train"], side["validation"], side["test"]) == sizes

    def test_a_side_that_wants_nothing_gets_nothing(self):
        assert set(assign_speaker_splits("abcdef", (0.5, 0.0, 0.5)).values()) == {"train", "test"}

    @pytest.mark.parametrize("fractions", [(0.7, 0.3), (0.7, 0.7, 0.1), (1.2, -0.1, -0.1)])
    def test_bad_fractions(self, fractions):
        with pytest.raises(CorpusError, match="fractions="):
            assign_speaker_splits("abc", fractions)

    def test_folds_wrap_around(self):
        folds = {1: ["a"], 2: ["b"], 3: ["c"]}
        assert fold_splits(folds, 3) == {"a": "validation", "b": "train", "c": "test"}


class TestExclusionList:
    @pytest.mark.parametrize("content", ["{", "[]", '{"version": 2, "files": {}}', '{"version": 1, "files": {"a": 1}}'])
    def test_another_file_is_refused(self, tmp_path, content):
        make_emodb(tmp_path)
        write(tmp_path / "list.json", content)
        with pytest.raises(CorpusError, match="exclude=.*list.json"):
            load_corpus("emodb", tmp_path, exclude=tmp_path / "list.json")

    def test_missing_list(self, tmp_path):
        make_emodb(tmp_path)
        with pytest.raises(CorpusError, match="cannot be read"):
            load_corpus("emodb", tmp_path, exclude=tmp_path / "none.json")

    def test_list_of_another_folder_is_said(self, tmp_path, caplog):
        make_emodb(tmp_path)
        write(tmp_path / "list.json", '{"version": 1, "files": {"elsewhere/x.wav": "digital silence"}}')
        load_corpus("emodb", tmp_path, exclude=tmp_path / "list.json")
        assert "0 clips left out" in caplog.text

    def test_nothing_left(self, tmp_path):
        touch(tmp_path, "03a01Fa.wav")
        write(tmp_path / "list.json", '{"version": 1, "files": {"03a01Fa.wav": "digital silence"}}')
        with pytest.raises(CorpusError, match="leaves no clip of emodb"):
            load_corpus("emodb", tmp_path, exclude=tmp_path / "list.json")


@pytest.mark.real_speech
@pytest.mark.skipif(not SPEECH.is_dir(), reason="no corpora in FAS_SPEECH_DATA")
@pytest.mark.parametrize(
    ("name", "clips", "speakers", "per_emotion", "excluded"),
    [
        ("ravdess", 1440, 24, {"neutral": 288, "happy": 192, "disgust": 192}, {}),
        ("tess", 700, 2, dict.fromkeys(EMOTIONS, 100), {}),
        ("emodb", 454, 10, {"angry": 127, "fear": 69, "disgust": 46}, {"boredom has no place": 81}),
        ("urdu", 400, 29, {"angry": 100, "happy": 100, "neutral": 100, "sad": 100}, {}),
    ],
)
def test_real_corpora(name, clips, speakers, per_emotion, excluded):
    reading = read_corpus(name, SPEECH / name)
    counts = Counter(reading.dataset["emotion"])
    assert len(reading.dataset) == clips and reading.excluded == excluded
    assert len(set(reading.dataset["speaker"])) == speakers
    assert {emotion: counts[emotion] for emotion in per_emotion} == per_emotion
    assert not speakers_on_two_sides(reading.dataset)
