"""Pictures that massrl writes and reads."""

from __future__ import annotations

import numpy as np
import pytest

from massrl.errors import ConfigError
from massrl.images.pictures import read_picture, save_picture


def test_picture_is_read_as_it_was_written(tmp_path, photo):
    """Guards colours exchanged between RGB and BGR, and folders that are not there yet."""
    path = tmp_path / "new" / "ünïcode ☃.png"
    save_picture(photo, path, command="views")
    assert np.array_equal(read_picture(path), photo)


@pytest.mark.parametrize(
    ("name", "start"), [("a.jpg", b"\xff\xd8"), ("a.JPEG", b"\xff\xd8"), ("a.webp", b"RIFF")]
)
def test_picture_has_the_format_of_its_name(name, start, tmp_path, photo):
    """Guards PNG data under another name."""
    save_picture(photo, tmp_path / name, command="views")
    assert (tmp_path / name).read_bytes().startswith(start)
    assert np.abs(read_picture(tmp_path / name).astype(int) - photo).mean() < 10


@pytest.mark.parametrize("name", ["a.txt", "a", "a.gif"])
def test_name_without_an_ending_of_a_picture_is_refused(name, tmp_path, photo):
    """Guards the message: which endings there are, and the flag."""
    with pytest.raises(ConfigError, match=r"no ending of a picture: \.png \.jpg .*\(--out\)"):
        save_picture(photo, tmp_path / name, command="views")


def test_picture_that_cannot_be_written_is_refused(tmp_path, photo):
    """Guards against a traceback for a folder without permission, or a folder of that name."""
    (tmp_path / "a.png").mkdir()
    with pytest.raises(ConfigError, match="cannot write .*a.png: "):
        save_picture(photo, tmp_path / "a.png", command="views")
