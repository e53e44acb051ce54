"""Tables that people make: what is read, and what is refused because it could be read in two ways."""

import json
import logging
from collections import Counter

import numpy as np
import pytest
import soundfile
from corpus_layouts import touch

from fas_core.audio import load_audio
from fas_core.data import load_corpus, read_corpus
from fas_core.data.check import check_corpus
from fas_core.data.tables import read_table
from fas_core.errors import AudioError, CorpusError
from fas_core.segments import split_segment
from fas_core.sources import audio_digest

RATE = 16_000


def table(folder, text, name="manifest.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def values(path):
    return [row.values for row in read_table(path)]


def ramp(path, seconds=4):
    """A recording of which every second has its own level: 0.1, 0.2, ..."""
    levels = np.repeat(np.arange(1, seconds + 1) / 10, RATE)
    soundfile.write(path, levels, RATE, subtype="FLOAT", format="WAV")
    return path


def rows_of(folder, **options):
    return list(read_corpus("manifest", folder, **options).dataset)


class TestRefused:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("audio,text,emotion\na.wav,hi,happy\nb.wav,I am happy, sad,angry\n", r"line 3: 4 cells for 3 columns \(audio, text"),
            ("audio,text,emotion\na.wav,happy\n", "line 2: 2 cells for 3 columns"),
            ("audio;text;emotion\na.wav;hi; there;sad\n", "line 2: 4 cells for 3 columns"),
            ("audio\ttext\temotion\na.wav\thappy\n", "line 2: 2 cells for 3"),
            ('audio,text,emotion\na.wav,"hello,happy\nb.wav,bye",sad\n', "line 2: a quoted cell goes on to line 3"),
            ('audio,text,emotion\na.wav,"hello,happy\nb.wav,bye,sad\n', "line 2: not a table .*quote is not closed"),
            ('audio,text,emotion\na.wav,"hello,happy\nb.wav,"bye",sad\n', "line 2: not a table"),
            ('audio,text,emotion\na.wav,"he said "no" twice",sad\n', "line 2: not a table .*written twice"),
            ('audio,emotion,text\na.wav,sad,"no\n\nb.wav,sad,bye"\n', "line 2: a quoted cell goes on to line 4"),
            ("audio,emotion,Emotion\na.wav,sad,happy\n", "two columns are named 'emotion'"),
            ("audio,emotion,\na.wav,sad,happy\n", "line 2: a value in a column without a name"),
            ("audio,emotion\na.wav,s\0ad\n", "line 2: a NUL character"),
            (b"audio,emotion\nM\xfcller.wav,sad\n", "line 2: not UTF-8 .*CSV UTF-8"),
            ("audio,emotion\n".encode("utf-16-le") + b"\0", "NUL|UTF"),
            (b"\xff\xfea\0u\0d", "not UTF-16"),
        ],
    )  # fmt: skip
    def test_a_row_that_does_not_match(self, tmp_path, text, message):
        with pytest.raises(CorpusError, match=rf"manifest.csv.*{message}"):
            read_table(table(tmp_path, text))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('{"audio": "a.wav", "Audio": "b.wav", "emotion": "sad"}', "line 1: two fields are named 'audio'"),
            ('{"audio": "a.wav", "audio": "b.wav", "emotion": "sad"}', "line 1: the field 'audio' is there twice"),
            ("[" * 100_000, "nested too deeply"),
            ('{"audio": "a.wav", "emotion": "sad", "text": "\\ud800"}', "line 1: half of a character"),
        ],
    )
    def test_json(self, tmp_path, text, message):
        with pytest.raises(CorpusError, match=message):
            read_table(table(tmp_path, text, "m.jsonl"))

    @pytest.mark.parametrize(
        "text",
        ["audio,emotion\na.wav,sad\na.wav,happy\n", "audio,emotion,id\na.wav,sad,1\nb.wav,sad,1\n", "audio,emotion,id\na.wav,sad,1\na.wav,happy,2\n"],
    )  # fmt: skip
    def test_rows_that_contradict_each_other(self, tmp_path, text):
        touch(tmp_path, "a.wav", "b.wav")
        table(tmp_path, text)
        with pytest.raises(CorpusError, match="line 3: .* is that of manifest.csv, line 2, too"):
            read_corpus("manifest", tmp_path)


class TestAccepted:
    EXPECTED = [{"audio": "a.wav", "text": "no, no; really\tno", "emotion": "sad"}]

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    @pytest.mark.parametrize("suffix", [".csv", ".tsv"])
    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    def test_separators_and_encodings(self, tmp_path, delimiter, suffix, encoding):
        cells = [["Audio", " Text ", "emotion"], ["a.wav", '"no, no; really\tno"', "sad"], ["", "", ""]]
        text = "\r\n".join(delimiter.join(row) for row in cells)
        assert values(table(tmp_path, text, f"m{suffix}", encoding)) == self.EXPECTED

    @pytest.mark.parametrize(
        "text",
        [
            "sep=;\r\naudio;text;emotion\r\na.wav;hello;sad\r\n",
            ",audio,text,emotion\n0,a.wav,hello,sad\n",  # pandas writes its index
            "audio,text,emotion,,\na.wav,hello,sad,,\n,,,,\n",  # a spreadsheet's empty columns and rows
            "\n\naudio|text|emotion\na.wav|hello|sad\n",
            'audio, text, emotion\na.wav, "hello", sad\n',
            "audio,text,emotion\ra.wav,hello,sad\r",
            '"audio","text","emotion"\n"a.wav","hello","sad"\n\n',
        ],
    )
    def test_what_programs_write(self, tmp_path, text):
        found = values(table(tmp_path, text))
        assert [{k: v for k, v in row.items() if k} for row in found] == [
            {"audio": "a.wav", "text": "hello", "emotion": "sad"}
        ]

    def test_a_text_over_two_lines(self, tmp_path):
        (row,) = values(table(tmp_path, 'audio,text,emotion\na.wav,"well\nI never\u2028did",sad\n'))
        assert row["text"] == "well\nI never\u2028did"

    @pytest.mark.parametrize("blank", ["", "  ", "nan", "NaN", "None", "NA", "null", "<NA>", "#N/A"])
    def test_no_value(self, tmp_path, blank):
        touch(tmp_path, "a.wav", "b.wav")
        header = "audio,emotion,speaker,text,language,semantic_emotion"
        table(tmp_path, f"{header}\na.wav,sad" + f",{blank}" * 4 + f"\nb.wav,{blank},x,,,\n")
        (row,) = rows_of(tmp_path)
        assert [row[column] for column in ("speaker", "text", "language", "semantic_emotion")] == [None] * 4
        assert read_corpus("manifest", tmp_path).excluded == {"no emotion given": 1}

    def test_names_are_values(self, tmp_path):
        touch(tmp_path, "a.wav")
        table(tmp_path, "audio,emotion,speaker,text\na.wav,sad,Nan,Na\n")
        assert [(row["speaker"], row["text"]) for row in rows_of(tmp_path)] == [("Nan", "Na")]

    def test_json_without_values(self, tmp_path):
        touch(tmp_path, "a.wav")
        table(tmp_path, '{"audio": "a.wav", "emotion": "sad", "speaker": NaN, "text": null, "language": ""}', "m.jsonl")
        assert [(row["speaker"], row["text"], row["language"]) for row in rows_of(tmp_path)] == [(None, None, None)]


class TestPlaces:
    def test_a_file_of_the_same_name_is_another_file(self, tmp_path):
        touch(tmp_path, "001.wav", "here.wav")
        table(tmp_path, "audio,emotion\ns1/001.wav,angry\n/elsewhere/001.wav,sad\nhere.wav,sad\n")
        reading = read_corpus("manifest", tmp_path)
        assert reading.excluded == {"audio file missing": 2} and reading.dataset["id"] == ["manifest/here.wav"]

    @pytest.mark.parametrize("name", ["x" * 300, "a\tb", "~nobody-of-this-name/a.wav", "http://host/a.wav"])
    def test_cells_that_are_no_path(self, tmp_path, name):
        touch(tmp_path, "a.wav")
        table(tmp_path, json.dumps([{"audio": name, "emotion": "sad"}, {"audio": "a.wav", "emotion": "sad"}]), "m.json")
        assert read_corpus("manifest", tmp_path).excluded == {"audio file missing": 1}

    def test_windows_paths(self, tmp_path):
        touch(tmp_path, "clips/a.wav")
        table(tmp_path, "audio,emotion\nclips\\a.wav,sad\n")
        assert len(rows_of(tmp_path)) == 1


class TestSegments:
    @pytest.mark.parametrize(
        ("columns", "first", "second"),
        [
            ("start,end", "0 days 00:00:01,0 days 00:00:02", "0 days 00:00:02.500000,NaT"),
            ("start,end", "1,2", "2.5,"),
            ("start;end", "1;2", "2,5;"),
            ("start_ms,end_ms", "1000,2000", "2500,"),
            ("begin,stop", "00:00:01,00:00:02", "00:00:02.5,nan"),
            ("start,duration", "1,1", "2.5,1.5"),
            ("offset,duration", "1,1", "2.5,1.5"),
            ("onset,offset", "1,2", "2.5,4"),
            ("start,end", "P0DT0H0M1S,P0DT0H0M2S", "2500ms,4s"),
        ],
    )
    def test_the_clip_is_the_segment(self, tmp_path, columns, first, second):
        ramp(tmp_path / "a.wav")
        mark = ";" if ";" in columns else ","
        lines = [
            mark.join(cells)
            for cells in (("file", columns, "emotion"), ("a.wav", first, "happy"), ("a.wav", second, "sad"))
        ]
        table(tmp_path, "\n".join(lines) + "\n")
        rows = {row["emotion"]: row for row in rows_of(tmp_path)}
        happy, sad = load_audio(rows["happy"]["audio"]), load_audio(rows["sad"]["audio"])
        assert happy.samples == pytest.approx(np.full(RATE, 0.2)) and sad.duration == 1.5
        assert sad.samples == pytest.approx(np.repeat([0.3, 0.4], [RATE // 2, RATE]))
        assert len({row["id"] for row in rows.values()}) == 2 and len({row["split"] for row in rows.values()}) == 1
        digests = {audio_digest(row["audio"]) for row in rows.values()} | {audio_digest(tmp_path / "a.wav")}
        assert len(digests) == 3

    def test_segments_of_one_recording_may_share_its_id(self, tmp_path):
        ramp(tmp_path / "a.wav")
        table(tmp_path, "file,start,end,emotion,id\na.wav,0,1,happy,rec\na.wav,1,2,sad,rec\n")
        assert [row["id"] for row in rows_of(tmp_path)] == ["manifest/rec#t=0,1", "manifest/rec#t=1,2"]

    def test_a_segment_that_is_the_whole_file_is_the_file(self, tmp_path):
        path = ramp(tmp_path / "a.wav")
        table(tmp_path, "file,start,end,emotion\na.wav,0 days 00:00:00,NaT,happy\n")
        (row,) = rows_of(tmp_path)
        assert row["audio"] == str(path) and audio_digest(row["audio"]) == audio_digest(path)

    @pytest.mark.parametrize(
        "times",
        ["2,1", "1,1", "-1,2", "0 days 00:00:02,0 days 00:00:01", "soon,2", "1,inf", "-1 days +23:59:59,1", "1:30,2"],
    )
    def test_times_that_are_none(self, tmp_path, times):
        touch(tmp_path, "a.wav")
        table(tmp_path, f"file,start,end,emotion\na.wav,{times},happy\n")
        with pytest.raises(CorpusError, match="manifest.csv, line 2: .*expected"):
            read_corpus("manifest", tmp_path)

    @pytest.mark.parametrize("times", ["5,6", "3,5"])
    def test_a_segment_outside_its_file(self, tmp_path, times):
        ramp(tmp_path / "a.wav")
        table(tmp_path, f"file,start,end,emotion\na.wav,{times},happy\na.wav,0,1,sad\n")
        (row,) = [row for row in rows_of(tmp_path) if row["emotion"] == "happy"]
        with pytest.raises(AudioError, match=r"a.wav#t=.*the file ends at 4.000 s"):
            load_audio(row["audio"])
        assert list(check_corpus(tmp_path, "manifest", progress=False).errors) == [f"a.wav#t={times}"]

    def test_segments_of_any_container_and_rate(self, tmp_path):
        samples = np.repeat(np.arange(1, 5) / 10, 44_100)
        for name in ("a.flac", "a.ogg", "a.mp3"):
            soundfile.write(tmp_path / name, np.stack([samples, samples], 1), 44_100)
            audio = load_audio(f"{tmp_path / name}#t=1,2")
            assert audio.duration == pytest.approx(1, abs=1e-3) and audio.original_channels == 2
            assert np.median(audio.samples) == pytest.approx(0.2, abs=0.05)

    def test_a_file_with_such_a_name_stays_a_file(self, tmp_path):
        path = ramp(tmp_path / "a.wav#t=1,2")
        assert load_audio(path).duration == 4 and split_segment(path) == (path, None)


class TestDivision:
    def test_without_speakers_every_side_has_every_emotion(self, tmp_path, caplog):
        rows = [{"audio": f"{n}.wav", "emotion": ("happy", "sad", "fear")[n % 3]} for n in range(60)]
        touch(tmp_path, *(row["audio"] for row in rows))
        table(tmp_path, json.dumps(rows), "m.json")
        with caplog.at_level(logging.WARNING):
            read = rows_of(tmp_path)
        assert "divided at random (70/15/15, seed 0)" in caplog.text
        counts = Counter((row["split"], row["emotion"]) for row in read)
        assert set(counts.values()) == {14, 3} and len(counts) == 9
        assert [row["split"] for row in read] == [row["split"] for row in rows_of(tmp_path)]
        assert [row["split"] for row in read] != [row["split"] for row in rows_of(tmp_path, seed=1)]

    def test_the_place_does_not_matter(self, tmp_path):
        for name in ("one", "two/deep"):
            touch(tmp_path / name, *(f"{n}.wav" for n in range(12)))
            table(tmp_path / name, "audio,emotion\n" + "".join(f"{n}.wav,sad\n" for n in range(12)))
        sides = [[row["split"] for row in rows_of(tmp_path / name)] for name in ("one", "two/deep")]
        assert sides[0] == sides[1]

    def test_segments_of_a_file_stay_together(self, tmp_path):
        touch(tmp_path, *(f"{n}.wav" for n in range(12)))
        lines = [f"{n}.wav,{s},{s + 1},{('sad', 'happy')[s % 2]}\n" for n in range(12) for s in range(5)]
        table(tmp_path, "file,start,end,emotion\n" + "".join(lines))
        sides = {}
        for row in rows_of(tmp_path):
            sides.setdefault(row["audio"].partition("#")[0], set()).add(row["split"])
        assert len(sides) == 12 and all(len(found) == 1 for found in sides.values())

    def test_blank_speakers_are_not_one_person(self, tmp_path, caplog):
        lines = [f"{n}.wav,sad,{'' if n % 2 else f's{n % 6}'}\n" for n in range(40)]
        touch(tmp_path, *(f"{n}.wav" for n in range(40)))
        table(tmp_path, "audio,emotion,speaker\n" + "".join(lines))
        read = rows_of(tmp_path)
        assert "no speaker in 20 of 40 rows" in caplog.text
        assert {row["split"] for row in read if row["speaker"] is None} == {"train", "validation", "test"}
        of_speaker = {}
        for row in read:
            if row["speaker"]:
                of_speaker.setdefault(row["speaker"], set()).add(row["split"])
        assert len(of_speaker) == 3 and all(len(found) == 1 for found in of_speaker.values())


class TestOwnCorpora:
    def test_any_name_with_a_manifest(self, tmp_path):
        touch(tmp_path, "a.wav")
        table(tmp_path, "audio;emotion\na.wav;sad\n", "mine.csv")
        (row,) = load_corpus("my-calls.2", tmp_path)
        assert (row["id"], row["corpus"]) == ("my-calls.2/a.wav", "my-calls.2")
        assert load_corpus("my-calls.2", tmp_path / "mine.csv")["id"] == [row["id"]]

    @pytest.mark.parametrize("name", ["ravdes", "../x", "", "a b"])
    def test_without_one_or_with_an_odd_name(self, tmp_path, name):
        if name != "ravdes":
            table(tmp_path, "audio,emotion\na.wav,sad\n")
        with pytest.raises(CorpusError, match="is not known; expected one of"):
            read_corpus(name, tmp_path)

    def test_several_tables_are_named(self, tmp_path):
        touch(tmp_path, "x.csv", "y.csv")
        with pytest.raises(CorpusError, match="corpus 'mine' is not known.*found x.csv, y.csv"):
            read_corpus("mine", tmp_path)
