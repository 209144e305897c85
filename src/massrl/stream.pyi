"""Streams of random numbers, in C (``csrc/stream.c``); see ``massrl.randomness``."""

from typing import final

@final
class Stream:
    """An endless sequence of random numbers, a pure function of its four arguments.

    Args:
        seed: seed of the run.
        epoch: number of completed passes over the data.
        index: the image's position in its source.
        number: number of the stream; equal numbers give equal sequences.

    Integers of any type and size are accepted; they wrap around at 64 bits, ``number`` at 62.
    """

    def __new__(cls, seed: int, *, epoch: int, index: int, number: int) -> Stream: ...
    def random(self) -> float:
        """Return a number uniform on [0, 1), a multiple of 2^-53."""

    def uniform(self, low: float, high: float) -> float:
        """Return a number uniform on [low, high)."""

    def integer(self, count: int) -> int:
        """Return an integer uniform on 0 … count - 1."""

    def chance(self, prob: float) -> bool:
        """Return True with this probability."""

    def permutation(self, count: int) -> list[int]:
        """Return 0 … count - 1 in uniformly random order (Fisher-Yates)."""
