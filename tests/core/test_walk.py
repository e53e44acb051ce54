"""Every walk over folders follows links, ends, and names what it could not follow."""

import os
import shutil

import pytest
from corpus_layouts import touch

from fas_core.data import read_corpus
from fas_core.data.check import check_corpus
from fas_core.data.reading import audio_files
from fas_core.sources import find_audio_files
from fas_core.walk import walk_files

WALKS = {"files": walk_files, "predict": find_audio_files, "readers": audio_files}


@pytest.fixture(params=WALKS)
def walk(request, tmp_path):
    """walk(folder) -> names of the files below a folder."""
    return lambda folder=tmp_path: [path.relative_to(folder).as_posix() for path in WALKS[request.param](folder)]


def test_linked_folders_and_files(tmp_path, walk, caplog):
    touch(tmp_path, "real/a/1.wav", "real/a/deep/2.wav", "set/3.wav")
    (tmp_path / "set/a").symlink_to(tmp_path / "real/a")
    (tmp_path / "set/4.wav").symlink_to(tmp_path / "real/a/1.wav")
    assert walk(tmp_path / "set") == ["3.wav", "4.wav", "a/1.wav", "a/deep/2.wav"] and not caplog.text


@pytest.mark.parametrize("target", [".", "..", "../..", "again"])
def test_loops_end_and_are_named(tmp_path, walk, target, caplog):
    touch(tmp_path, "in/a/1.wav")
    (tmp_path / "in/a/again").symlink_to(target)
    assert walk(tmp_path / "in") == ["a/1.wav"]
    assert "again" in caplog.text and "not followed" in caplog.text


def test_links_of_links_to_each_other(tmp_path, walk):
    for number in range(8):
        touch(tmp_path, f"in/{number}/{number}.wav")
        for other in range(8):
            (tmp_path / f"in/{number}/to{other}").symlink_to(f"../{other}")
    assert walk(tmp_path / "in") == [f"{number}/{number}.wav" for number in range(8)]


def test_a_folder_is_found_under_its_own_name(tmp_path, walk, caplog):
    touch(tmp_path, "in/z/1.wav")
    (tmp_path / "in/a").symlink_to("z")
    assert walk(tmp_path / "in") == ["z/1.wav"] and "in/a (a link to a folder that is read already)" in caplog.text


def test_links_that_lead_nowhere_and_hidden_things(tmp_path, walk, caplog):
    touch(tmp_path, "1.wav", ".hidden/2.wav", "._1.wav")
    for number in range(9):
        (tmp_path / f"gone{number}.wav").symlink_to("elsewhere.wav")
    assert walk() == ["1.wav"]
    assert "gone0.wav (a link that leads nowhere)" in caplog.text and "and 4 more" in caplog.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read(tmp_path, walk, caplog):
    touch(tmp_path, "1.wav", "closed/2.wav")
    (tmp_path / "closed").chmod(0)
    try:
        assert walk() == ["1.wav"] and "closed (Permission denied)" in caplog.text
    finally:
        (tmp_path / "closed").chmod(0o700)


@pytest.mark.parametrize("name", ["ravdess", "tess", "meld", "iemocap", "esd", "m3ed", "fau-aibo", "casia", "emov-db"])
def test_readers_and_check_find_what_lies_behind_links(tmp_path, name):
    from test_data import MAKERS

    MAKERS[name](tmp_path / "real")
    expected = read_corpus(name, tmp_path / "real").dataset["id"]
    (tmp_path / "set").mkdir()
    for entry in (tmp_path / "real").iterdir():
        (tmp_path / "set" / entry.name).symlink_to(entry)
    reading = read_corpus(name, tmp_path / "set")
    assert reading.dataset["id"] == expected and all(os.path.isfile(path) for path in reading.dataset["audio"])
    assert check_corpus(tmp_path / "set", name, progress=False).files == len(expected)


def test_a_name_that_is_not_utf8_is_counted(tmp_path):
    touch(tmp_path, "03a01Fa.wav")
    folder = os.fsencode(tmp_path) + b"/\xff"
    try:
        os.mkdir(folder)
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    shutil.copy(tmp_path / "03a01Fa.wav", os.fsdecode(folder + b"/08a01Wa.wav"))
    reading = read_corpus("emodb", tmp_path)
    assert len(reading.dataset) == 1 and reading.excluded == {"file name that is not UTF-8": 1}
