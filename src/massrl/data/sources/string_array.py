"""Many strings in two arrays, which loader workers share."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

# Where Python takes every byte of a name beyond ASCII for undecodable, it finds no file by the letters.
_DECODING = "ascii" if sys.getfilesystemencoding() == "ascii" else "utf-8"


class StringArray(Sequence[str]):
    """Many strings in one block of memory.

    A list of a million paths is a million Python objects; every forked loader worker that touches their
    reference counts copies the memory of the whole list. Two arrays stay shared.

    Args:
        strings: any strings, undecodable bytes of file names among them.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        encoded = [string.encode("utf-8", "surrogateescape") for string in strings]
        self._block = b"".join(encoded)
        self._ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)

    @classmethod
    def from_parts(cls, block: bytes, ends: np.ndarray) -> StringArray:
        """Make an array of what ``parts`` has returned."""
        strings = cls(())
        strings._block, strings._ends = block, ends
        return strings

    def parts(self) -> tuple[bytes, np.ndarray]:
        """Return all strings as one block, and where each begins and the last ends, int64 ``(n + 1,)``."""
        return self._block, self._ends

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:  # type: ignore[override]  # slices are not needed
        if not 0 <= index < len(self):
            raise IndexError(index)
        part = self._block[self._ends[index] : self._ends[index + 1]]
        return part.decode(_DECODING, "surrogateescape")
