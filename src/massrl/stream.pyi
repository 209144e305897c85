"""Streams of random numbers, in C (``csrc/stream.c``); see ``randomness``."""

from typing import final

@final
class Stream:
    """One endless sequence of random numbers, a pure function of the four numbers that name it.

    Args:
        seed: seed of the run.
        epoch: passes over the data that were completed before.
        index: the image's position in its source.
        number: number of the stream; equal ones give equal numbers.

    Whole numbers of any kind and size are taken; what 64 bits do not hold wraps around, of ``number`` what
    62 do not.
    """

    def __new__(cls, seed: int, *, epoch: int, index: int, number: int) -> Stream: ...
    def random(self) -> float:
        """A number uniform on [0, 1), a multiple of 2^-53."""

    def uniform(self, low: float, high: float) -> float:
        """A number uniform on [low, high)."""

    def integer(self, count: int) -> int:
        """A whole number uniform on 0 … count - 1."""

    def chance(self, prob: float) -> bool:
        """True with this probability."""

    def permutation(self, count: int) -> list[int]:
        """The numbers 0 … count - 1 in a uniformly random order (Fisher-Yates)."""
