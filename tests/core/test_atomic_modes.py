"""What is written has the permissions that the user gives to new files: no wider, no narrower."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys
from pathlib import Path
from fas_core.atomic import atomic_directory, write_text
folder = Path(sys.argv[1])
write_text(folder / "text", "x")
with atomic_directory(folder / "folder") as new:
    (new / "file").write_text("x")
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o027, 0o002])
def test_permissions_are_the_users_choice(tmp_path, umask):
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], umask=umask, check=True)
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("text", "folder", "folder/file")}
    assert modes == {name: (0o777 if name == "folder" else 0o666) & ~umask for name in modes}
