"""Random numbers as a pure function of where they are used.

A counter-based generator (Philox 4x64-10; Salmon et al., "Parallel random numbers: as easy as 1,
2, 3", SC 2011) turns ``(seed, epoch, image index, stream)`` into numbers. Nothing is remembered
between calls, so the same image gets the same views for any number of workers and devices, before
and after a resume, and any view of any past step can be drawn again.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, count
from threading import local

import numpy as np

_BLOCK = 16  # numbers drawn at a time: more than nearly every crop or policy uses
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
        """Sixteen numbers, uniform on [0, 1), of one block of one stream."""
        if block == 0:
            return self._first[stream * _BLOCK : (stream + 1) * _BLOCK]
        return self._numbers(stream, block=block, count=_BLOCK)

    def _numbers(self, stream: int, *, block: int, count: int) -> list[float]:
        counter = _words(stream * _COUNTS_PER_BLOCK, block, self._index, 0)
        raw = _raw(self._key, counter, count)
        numbers: list[float] = ((raw >> np.uint64(11)) * _UNIT).tolist()
        return numbers


class Stream:
    """One endless sequence of random numbers, drawn in order."""

    __slots__ = ("random",)

    def __init__(self, draws: Draws, number: int) -> None:
        blocks = (draws.block(number, block) for block in count())
        # A method in C: a plan draws some forty numbers, and this is most of what each of them costs.
        self.random: Callable[[], float] = chain.from_iterable(blocks).__next__
        """Draw a number uniform on [0, 1)."""

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


_LOCAL = local()


def _raw(key: np.ndarray, counter: np.ndarray, count: int) -> np.ndarray:
    """64-bit words from a counter on; a generator that is there already is set, not built anew."""
    if not hasattr(_LOCAL, "philox"):
        _LOCAL.philox = np.random.Philox(key=key, counter=counter)
        _LOCAL.state = _LOCAL.philox.state
        _LOCAL.state["buffer_pos"] = 4  # nothing left over from before
    _LOCAL.state["state"] = {"counter": counter, "key": key}
    _LOCAL.philox.state = _LOCAL.state
    return np.asarray(_LOCAL.philox.random_raw(count))


def _words(*numbers: int) -> np.ndarray:
    """64-bit words; negative numbers, larger ones and NumPy's own integers wrap around."""
    return np.array([int(number) & _WORD for number in numbers], np.uint64)
