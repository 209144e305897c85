"""Training batches of images with objects, and the size that such images are resized to."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from massrl.data.annotated import ObjectSource
from massrl.randomness import epoch_permutation

SMALL_IMAGE = 200  # pixels of the short side; smaller images are enlarged twofold only
_MIN_SIDE = 64


def fitting_side(source: ObjectSource, *, default: int) -> int:
    """Return the side that images are resized to: the usual one, less for small images.

    Args:
        source: the images.
        default: the usual side, pixels.
    """
    side = source.typical_side
    return max(_MIN_SIDE, 2 * side) if side < SMALL_IMAGE else default


def num_batches(count: int, batch_size: int, *, epochs: float) -> int:
    """Return the number of full batches in some epochs, at least one.

    Args:
        count: number of images, at least ``batch_size``.
        batch_size: images per batch.
        epochs: passes over the images, fractions of one among them.
    """
    return max(1, round(epochs * (count // batch_size)))


def flipped_batches(
    count: int, batch_size: int, *, total: int, seed: int
) -> Iterator[list[tuple[int, bool]]]:
    """Yield batches of shuffled images, each flipped half the time; the same ones for a seed.

    Args:
        count: number of images, at least ``batch_size``.
        batch_size: images per batch.
        total: number of batches.
        seed: of the order and the flips.

    Yields:
        Index of each image, and whether it is flipped.
    """
    per_epoch = count // batch_size
    for step in range(total):
        order = epoch_permutation(seed, epoch=step // per_epoch, count=count)
        begin = step % per_epoch * batch_size
        flips = np.random.default_rng([seed, step]).random(batch_size) < 0.5
        indices = order[begin : begin + batch_size]
        yield [(int(index), bool(flip)) for index, flip in zip(indices, flips, strict=True)]
