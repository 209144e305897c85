"""Random numbers as a pure function of where they are used.

A counter-based generator (Philox 4x64-10; Salmon et al., "Parallel random numbers: as easy as 1,
2, 3", SC 2011) turns ``(seed, epoch, image index, stream)`` into numbers. Nothing is remembered
between calls, so the same image gets the same views for any number of workers and devices, before
and after a resume, and any view of any past step can be drawn again.
"""

from __future__ import annotations

import numpy as np

_BLOCK = 32  # numbers drawn at a time: more than nearly every crop or policy uses
_COUNTS_PER_BLOCK = _BLOCK // 4  # Philox 4x64 gives four 64-bit words for each count
_UNIT = 2.0**-53
_WORD = 2**64 - 1


class Draws:
    """All random numbers of one image in one epoch, as independent streams.

    Args:
        seed: seed of the run.
        epoch: passes over the data that were completed before.
        index: the image's position in its source.
        num_streams: how many streams will be asked for; their first blocks are drawn together.
    """

    def __init__(self, seed: int, *, epoch: int, index: int, num_streams: int) -> None:
        self._key = _words(seed, epoch)
        self._index = index
        self._first = self._numbers(0, block=0, count=num_streams * _BLOCK)

    def stream(self, number: int) -> Stream:
        """The stream of this number; equal numbers give equal streams."""
        return Stream(self, number)

    def block(self, stream: int, block: int) -> list[float]:
        """Thirty-two numbers, uniform on [0, 1), of one block of one stream."""
        if block == 0:
            return self._first[stream * _BLOCK : (stream + 1) * _BLOCK]
        return self._numbers(stream, block=block, count=_BLOCK)

    def _numbers(self, stream: int, *, block: int, count: int) -> list[float]:
        counter = _words(stream * _COUNTS_PER_BLOCK, block, self._index, 0)
        raw = np.random.Philox(key=self._key, counter=counter).random_raw(count)
        numbers: list[float] = ((raw >> np.uint64(11)) * _UNIT).tolist()
        return numbers


class Stream:
    """One endless sequence of random numbers, drawn in order."""

    __slots__ = ("_block", "_draws", "_number", "_numbers", "_position")

    def __init__(self, draws: Draws, number: int) -> None:
        self._draws = draws
        self._number = number
        self._block = 0
        self._numbers: list[float] = []
        self._position = 0

    def random(self) -> float:
        """A number uniform on [0, 1)."""
        if self._position == len(self._numbers):
            self._numbers = self._draws.block(self._number, self._block)
            self._block += 1
            self._position = 0
        number = self._numbers[self._position]
        self._position += 1
        return number

    def uniform(self, low: float, high: float) -> float:
        """A number uniform on [low, high)."""
        return low + (high - low) * self.random()

    def integer(self, count: int) -> int:
        """A whole number uniform on 0 … count - 1."""
        return int(self.random() * count)

    def chance(self, prob: float) -> bool:
        """True with this probability."""
        return self.random() < prob

    def permutation(self, count: int) -> list[int]:
        """The numbers 0 … count - 1 in a uniformly random order (Fisher-Yates)."""
        order = list(range(count))
        for last in range(count - 1, 0, -1):
            other = self.integer(last + 1)
            order[last], order[other] = order[other], order[last]
        return order


def epoch_permutation(seed: int, *, epoch: int, count: int) -> np.ndarray:
    """The order in which an epoch visits its images.

    Args:
        seed: seed of the run.
        epoch: number of the epoch, from 0.
        count: number of images.

    Returns:
        int64 ``(count,)``, a permutation of 0 … count - 1.
    """
    # The last counter word keeps this sequence apart from every image's own streams, where it is 0.
    philox = np.random.Philox(key=_words(seed, epoch), counter=_words(0, 0, 0, 1))
    return np.argsort(philox.random_raw(count), kind="stable")


def _words(*numbers: int) -> np.ndarray:
    """64-bit words; negative numbers, larger ones and NumPy's own integers wrap around."""
    return np.array([int(number) & _WORD for number in numbers], np.uint64)
