"""Decoded images in one array in memory."""

from __future__ import annotations

import numpy as np

from massrl.data.source import Normalization, Source, digest


class ArraySource(Source):
    """Decoded images in memory.

    Args:
        name: short name; with the index it also names each image.
        images: uint8 ``(n, H, W, 3)``, RGB; any memory layout.
        labels: class index of each image, or None.
        class_names: name of each class.
        normalization: the set's constants.
    """

    def __init__(
        self,
        name: str,
        images: np.ndarray,
        *,
        labels: np.ndarray | None,
        class_names: tuple[str, ...],
        normalization: Normalization,
    ) -> None:
        self.name = name
        self.images = images
        self.labels = labels
        self.class_names = class_names
        self.normalization = normalization

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> np.ndarray:
        """Return a copy of the image, uint8 ``(H, W, 3)``, RGB."""
        return np.array(self.images[index], order="C")

    def describe(self, index: int) -> str:
        """Return the source's name with the index."""
        return f"{self.name}[{index}]"

    def sizes(self) -> np.ndarray:
        """See ``Source.sizes``."""
        return np.full(len(self), self.images[:1].nbytes, np.int64)

    def fingerprint(self) -> str:
        """See ``Source.fingerprint``."""
        labels = b"" if self.labels is None else self.labels.tobytes()
        return digest([self.name.encode(), repr(self.images.shape).encode(), labels])
