"""Images that are both in one source and in another: by path, and by content."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from massrl.data.source import Source, whole
from massrl.errors import DataError, ImageError

logger = logging.getLogger("massrl")

_MOST_BYTES = 1 << 29  # read at the start of an evaluation
_MAX_THREADS = 16
_MOST_SHOWN = 3


def check_disjoint(train: Source, test: Source) -> None:
    """Refuse test images that are among the training images, by their paths.

    Raises:
        DataError: with the number of them.
    """
    shared = len(_identities(train) & _identities(test))
    if shared:
        raise DataError(
            f"{shared} of {len(test)} images of {test.name} are among the training images of "
            f"{train.name}: other images are wanted (--data.val)"
        )
    one, other = whole(train), whole(test)
    if type(one) is not type(other) and one.fingerprint() == other.fingerprint():
        raise DataError(
            f"{test.name} and {train.name} are the same images, packed and as files: other images are "
            f"wanted (--data.val)"
        )


def same_contents(
    one: Source, other: Source, *, most_bytes: int | None = None
) -> tuple[list[tuple[int, int]], int]:
    """Find images with identical bytes in two sources; only images of the same size are read.

    Args:
        one: a source.
        other: another one.
        most_bytes: about how much is read; images of ``other``, evenly spaced, are then compared.

    Returns:
        Pairs of an image of ``one`` and one of ``other``, one for each image of ``other`` that is in both;
        and how many images of ``other`` were compared. Nothing is compared where sizes are unknown before an
        image is read, as those of rendered ones.
    """
    sizes, other_sizes = one.sizes(), other.sizes()
    if sizes is None or other_sizes is None or not len(one) or not len(other):
        return [], 0
    compared = _affordable(sizes, other_sizes, most_bytes)
    wanted = compared[np.isin(other_sizes[compared], sizes)]
    candidates = np.flatnonzero(np.isin(sizes, other_sizes[wanted]))
    by_digest: dict[bytes, int] = {}
    for index, digest in _digests(one, candidates):
        by_digest.setdefault(digest, index)
    pairs = [
        (by_digest[digest], index)
        for index, digest in _digests(other, wanted)
        if digest in by_digest
    ]
    return pairs, len(compared)


def warn_of_same_contents(train: Source, test: Source) -> None:
    """Warn of test images that are, byte for byte, among the training images under other names."""
    pairs, compared = same_contents(train, test, most_bytes=_MOST_BYTES)
    if pairs:
        among = (
            f"the {compared} that were compared of {len(test)}"
            if compared < len(test)
            else len(test)
        )
        examples = ", ".join(
            f"{test.describe(other)} = {train.describe(one)}" for one, other in pairs[:_MOST_SHOWN]
        )
        logger.warning(
            "%d of %s test images of %s have the same content as training images, such as %s: remove "
            "them, or the figures are too good (massrl data check lists them)",
            *(len(pairs), among, test.name, examples),
        )


def _affordable(sizes: np.ndarray, other_sizes: np.ndarray, most_bytes: int | None) -> np.ndarray:
    """Return the images of ``other`` to compare: all of them, or as many as may be read, evenly spaced."""
    if most_bytes is None:
        return np.arange(len(other_sizes))
    unique, counts = np.unique(sizes, return_counts=True)
    place = np.searchsorted(unique, other_sizes).clip(max=len(unique) - 1)
    same = np.where(unique[place] == other_sizes, counts[place], 0)
    # Images of one size are read once, however many others have that size.
    _, first = np.unique(other_sizes, return_index=True)
    cost = np.where(same > 0, other_sizes, 0).astype(np.float64)
    cost[first] += same[first] * other_sizes[first].astype(np.float64)
    fraction = min(1.0, most_bytes / max(float(cost.sum()), 1.0))
    count = max(1, int(fraction * len(other_sizes)))
    return np.unique(np.linspace(0, len(other_sizes) - 1, count).astype(np.int64))


def _digests(source: Source, indices: np.ndarray) -> Iterable[tuple[int, bytes]]:
    """Yield number and digest of each image that can be read."""

    def digest(index: int) -> bytes:
        try:
            image = source.read(index)
        except ImageError:
            return b""
        content = image.tobytes() if isinstance(image, np.ndarray) else image
        return hashlib.blake2b(content, digest_size=16).digest()

    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as threads:
        numbers = indices.tolist()
        for index, found in zip(numbers, threads.map(digest, numbers), strict=True):
            if found:
                yield index, found


def _identities(source: Source) -> set[str]:
    """Return what tells each image from all others: its real path, or its number in a fingerprinted set."""
    files = [source.file(index) for index in range(len(source))]
    if None not in files:
        return {os.path.realpath(str(file)) for file in files}
    mark = whole(source).fingerprint()
    return {f"{mark} {source.describe(index)}" for index in range(len(source))}
