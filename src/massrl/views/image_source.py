"""What views need of a set of images."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class ImageSource(Protocol):
    """A fixed, ordered set of images; every source of ``massrl.data`` is one.

    Attributes:
        name: short name, for messages.
    """

    name: str

    def __len__(self) -> int: ...

    def read(self, index: int) -> bytes | NDArray[np.uint8]:
        """Return one image: its file's bytes, or decoded uint8 ``(H, W, 3)``, RGB.

        Raises:
            ImageError: if it cannot be read.
        """
        ...

    def describe(self, index: int) -> str:
        """Return the image's path or another identifier, for messages."""
        ...
