"""Contents for spawned workers: in a file, arrays mapped, deleted with their owner."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from massrl.data.handover import Handover, read_content, write_content
from massrl.errors import DataError


def through_a_file(folder: Path, content: Any) -> Any:
    with (folder / "content").open("wb") as file:
        write_content(file, content)
    return read_content(str(folder / "content"))


@pytest.mark.parametrize(
    "content",
    [
        {"a": 1, "b": "ü\udce9"},
        [np.arange(7, dtype=np.int16), np.empty((0, 3)), np.arange(3.0)],
        (b"", np.float64(2.5), np.arange(12).reshape(3, 4).T),
        np.array(["one", None], object),
    ],
)
def test_content_is_read_as_it_was_written(content: Any, tmp_path: Path) -> None:
    """Guards every array's place in the file: empty, transposed, of objects, of an odd length."""
    np.testing.assert_equal(through_a_file(tmp_path, content), content)


def test_arrays_are_mapped_and_not_copied(tmp_path: Path) -> None:
    """Guards memory: a copy of two gigabytes of cached images for every worker."""
    pixels = through_a_file(tmp_path, {"pixels": np.arange(100_000)})["pixels"]
    assert not pixels.flags.owndata
    assert not pixels.flags.writeable
    assert pixels.ctypes.data % 64 == 0


def test_file_is_deleted_with_its_owner() -> None:
    """Guards the temporary folder."""
    handover = Handover([1, 2])
    path = Path(handover.path)
    assert read_content(str(path)) == [1, 2]
    del handover
    assert not path.exists()


def test_content_that_cannot_be_pickled_is_refused_with_the_way_out() -> None:
    """Guards functions within functions, which forked workers take and spawned ones do not."""
    with pytest.raises(DataError, match=r"lambda.*top of a module.*--data\.workers 0") as caught:
        Handover(lambda: 0)
    assert "\n" not in str(caught.value)


def test_full_disk_is_reported_with_its_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Guards containers with a small temporary folder."""

    class Full(io.FileIO):
        def write(self, content: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(os, "fdopen", lambda handle, mode: Full(handle, mode))
    with pytest.raises(DataError, match=rf"{tmp_path}.*No space left.*TMPDIR.*--data\.cache none"):
        Handover([1])
    assert list(tmp_path.iterdir()) == []
