"""Files are there whole, or as they were."""

import pytest

from fas_core.atomic import write_text


def test_a_write_that_breaks_leaves_the_old_file(tmp_path):
    path = write_text(tmp_path / "r.md", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \ud800")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
