"""Read one image of a source; whatever goes wrong is that image's error, with its name."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from massrl.errors import ImageError, MassrlError
from massrl.images.decode import decode, unexpected

Image = bytes | NDArray[np.uint8]


class Images(Protocol):
    """What can be read image by image."""

    def read(self, index: int) -> Image:
        """Return an image's file, or its pixels."""
        ...

    def describe(self, index: int) -> str:
        """Return an image's name."""
        ...


def read_image(source: Images, index: int) -> Image:
    """Return one image: its file's bytes, or uint8 ``(H, W, 3)``, RGB.

    Raises:
        ImageError: if it cannot be read, whatever the source raises.
    """
    try:
        return source.read(index)
    except MassrlError:  # its own, or one of the whole set
        raise
    except Exception as error:
        raise ImageError(source.describe(index), unexpected(error)) from error


def read_pixels(source: Images, index: int) -> NDArray[np.uint8]:
    """Return one image decoded: uint8 ``(H, W, 3)``, RGB.

    Raises:
        ImageError: if it cannot be read or decoded, whatever the source or a decoder raises.
    """
    return decode(read_image(source, index), name=source.describe(index))
