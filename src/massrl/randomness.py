"""Random numbers as a pure function of where they are used.

A counter-based generator (Philox 4x64-10; Salmon et al., "Parallel random numbers: as easy as 1,
2, 3", SC 2011) turns ``(seed, epoch, image index, stream)`` into numbers. Nothing is remembered
between calls, so the same image gets the same views for any number of workers and devices, before
and after a resume, and any view of any past step can be drawn again.

An image's views draw from a ``Stream`` each, which is in C: a plan draws some forty numbers.
"""

from __future__ import annotations

from operator import index

import numpy as np

from massrl.stream import Stream

__all__ = ["Stream", "epoch_permutation"]

_WORD = 2**64 - 1


def epoch_permutation(seed: int, *, epoch: int, count: int) -> np.ndarray:
    """The order in which an epoch visits its images.

    Args:
        seed: seed of the run; one that 64 bits do not hold wraps around, as a stream's does.
        epoch: number of the epoch, from 0.
        count: number of images.

    Returns:
        int64 ``(count,)``, a permutation of 0 … count - 1.
    """
    key = np.array([index(seed) & _WORD, index(epoch) & _WORD], np.uint64)
    # The last counter word keeps this sequence apart from every image's own streams, where it is 0.
    philox = np.random.Philox(key=key, counter=np.array([0, 0, 0, 1], np.uint64))
    return np.argsort(philox.random_raw(count), kind="stable")
