"""Many strings in two arrays."""

from __future__ import annotations

import os

import pytest

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
