"""Cache decoded images in memory: reading and decoding a small image costs as much as a view of it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from massrl.data.source import Source
from massrl.errors import ImageError
from massrl.images.decode import decode
from massrl.images.header import image_size
from massrl.images.reading import read_image

_MAX_SIDE = 64  # pixels; larger images take more memory than their decoding is worth
_MAX_BYTES = 2 << 30


class CachedSource(Source):
    """A source whose images are all decoded in advance; forked workers share the memory.

    An image so much larger than a view that it may be decoded at a reduced scale is cached encoded, so
    that its views stay the same. Reading a broken image raises the same error as without the cache.

    Args:
        source: the images.
        view_size: side of the views, pixels.
        workers: threads that decode; default one per core.
    """

    def __init__(self, source: Source, *, view_size: int, workers: int | None = None) -> None:
        self.name = source.name
        self.class_names = source.class_names
        self.labels = source.labels
        self.normalization = source.normalization
        self._source = source
        self._reasons: dict[int, str] = {}
        self._encoded: dict[int, bytes] = {}

        def pixels(index: int) -> np.ndarray:
            try:
                image = read_image(source, index)
                size = image_size(image) if isinstance(image, bytes) else None
                if isinstance(image, bytes) and size and min(size) >= 4 * view_size:
                    self._encoded[index] = image
                    return np.empty((0, 0, 3), np.uint8)
                return decode(image, name=source.describe(index))
            except ImageError as error:
                self._reasons[index] = error.reason
                return np.empty((0, 0, 3), np.uint8)

        with ThreadPoolExecutor(workers or os.cpu_count()) as threads:
            images = list(threads.map(pixels, range(len(source))))
        self._shapes = np.array([image.shape[:2] for image in images], np.int32)
        self._ends = np.cumsum([0, *(image.size for image in images)], dtype=np.int64)
        self._pixels = np.concatenate([image.reshape(-1) for image in images])

    def __len__(self) -> int:
        return len(self._shapes)

    def read(self, index: int) -> bytes | np.ndarray:
        """Return a copy of the decoded image; see ``Source.read``."""
        if index in self._encoded:
            return self._encoded[index]
        if index in self._reasons:
            raise ImageError(self.describe(index), self._reasons[index])
        height, width = self._shapes[index]
        return (
            self._pixels[self._ends[index] : self._ends[index + 1]].reshape(height, width, 3).copy()
        )

    def describe(self, index: int) -> str:
        """See ``Source.describe``."""
        return self._source.describe(index)

    def fingerprint(self) -> str:
        """See ``Source.fingerprint``: that of the source."""
        return self._source.fingerprint()


def fits_in_memory(source: Source) -> bool:
    """Return whether a source is worth caching: small images in files, at most 2 GiB decoded."""
    try:
        if isinstance(read_image(source, 0), np.ndarray):
            return False  # in memory already, or rendered when read
    except ImageError:
        return False
    side = source.typical_side
    return (
        side <= _MAX_SIDE and 4 * len(source) * side**2 <= _MAX_BYTES
    )  # 3 channels, and a reserve
