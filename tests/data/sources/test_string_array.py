"""Many strings in two arrays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import photos

from massrl.data.sources.string_array import StringArray

NAMES = ["a", "", "é☃", os.fsdecode(b"\xff.jpg"), "line\nbreak"]


def test_every_string_is_returned_as_it_was() -> None:
    """Guards strings cut within a letter, empty ones, and undecodable bytes of old disks."""
    assert list(StringArray(NAMES)) == NAMES
    assert len(StringArray(NAMES)) == 5
    assert list(StringArray([])) == []


@pytest.mark.parametrize("index", [-1, 5])
def test_index_out_of_range_is_refused(index: int) -> None:
    """Guards iteration, which ends at an ``IndexError``, and a name of another image."""
    with pytest.raises(IndexError):
        StringArray(NAMES)[index]


def test_parts_give_the_same_strings_again() -> None:
    """Guards the index of packed images, which stores the parts."""
    block, ends = StringArray(NAMES).parts()
    assert ends.tolist() == [0, 1, 1, 6, 11, 21]
    assert list(StringArray.from_parts(block, ends)) == NAMES


def test_names_beyond_ascii_are_found_where_python_reads_names_as_ascii(tmp_path: Path) -> None:
    """Guards ``LC_ALL=C``: bytes of a name, undecodable one by one, must not become letters together."""
    photos(tmp_path, "größe…", count=2)
    script = (
        "import sys; from massrl.data.catalogue import open_source; s = open_source(sys.argv[1]); "
        "print(sys.getfilesystemencoding(), [len(s.read(i)) > 0 for i in range(len(s))])"
    )
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    paths = os.pathsep.join(str(Path(item).resolve()) for item in sys.path if item)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, **plain, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    encoding, read = done.stdout.split(" ", 1)
    assert encoding in ("ascii", "utf-8")  # the latter where the system has no such locale
    assert read == "[True, True]\n"
