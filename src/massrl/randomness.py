"""Counter-based random numbers.

Philox 4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) maps ``(seed,
epoch, image index, stream)`` to random numbers. There is no state between calls, so an image gets the
same views for any number of workers and devices, before and after a resume, and any view of a past step
can be reproduced.

Each view of an image draws from its own ``Stream``, which is written in C: a plan draws about forty
numbers.
"""

from __future__ import annotations

from operator import index

import numpy as np

from massrl.stream import Stream

__all__ = ["Stream", "epoch_permutation"]

_WORD = 2**64 - 1


def epoch_permutation(seed: int, *, epoch: int, count: int) -> np.ndarray:
    """Return the order of an epoch's images.

    Args:
        seed: seed of the run; wraps around at 64 bits, as a stream's does.
        epoch: number of the epoch, from 0.
        count: number of images.

    Returns:
        int64 ``(count,)``, a permutation of 0 … count - 1.
    """
    key = np.array([index(seed) & _WORD, index(epoch) & _WORD], np.uint64)
    # The last counter word is 0 in all streams of images, so this sequence is independent of them.
    philox = np.random.Philox(key=key, counter=np.array([0, 0, 0, 1], np.uint64))
    return np.argsort(philox.random_raw(count), kind="stable")
