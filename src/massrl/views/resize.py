"""Cuts a part out of an image and brings it to the size of a view."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from massrl.views import kernels
from massrl.views.crops import Box

Image = NDArray[np.uint8]  # (height, width, 3), RGB


def resize_crop(
    image: Image, box: Box, side: int, *, mirrored: bool = False, out: Image | None = None
) -> Image:
    """Cut a box out and bring it to ``side`` × ``side``, bicubic, antialiased where it shrinks.

    That is Pillow's bicubic filter, as published, without Pillow's rounding between its two passes.

    Args:
        image: uint8 ``(H, W, 3)``.
        box: the part, within the image.
        side: wanted height and width, pixels.
        mirrored: whether the result is flipped left to right, which then costs nothing.
        out: where to write the result; made where it is left out.

    Returns:
        uint8 ``(side, side, 3)``; ``out`` where it is given.
    """
    top, left, height, width = box
    cut = image[top : top + height, left : left + width]
    resized = np.empty((side, side, 3), np.uint8) if out is None else out
    if height == width == side and not mirrored:
        np.copyto(resized, cut)
    else:
        kernels.resize(cut, resized, mirrored)
    return resized
