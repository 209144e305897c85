"""Cuts a part out of an image and brings it to the size of a view."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from massrl.views.crops import Box

Image = NDArray[np.uint8]  # (height, width, 3), RGB


def resize_crop(image: Image, box: Box, side: int) -> Image:
    """Cut a box out and bring it to ``side`` × ``side``, bicubic, antialiased where it shrinks.

    Shrinking is what the published pipeline does, Pillow's bicubic filter, in torch's vectorised
    implementation of it, which differs by a twentieth of a grey level on photographs and is several
    times faster than Pillow, or than averaging areas with OpenCV. A box of the wanted size is
    returned as it is, unwritten to.

    Args:
        image: uint8 ``(H, W, 3)``.
        box: the part, within the image.
        side: wanted height and width, pixels.

    Returns:
        uint8 ``(side, side, 3)``.
    """
    top, left, height, width = box
    cut = image[top : top + height, left : left + width]
    if (height, width) == (side, side):
        return cut
    if height <= side and width <= side:
        return np.asarray(cv2.resize(cut, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)
    return _antialiased(cut, side)


def _antialiased(cut: Image, side: int) -> Image:
    import torch  # here, so that small images need no torch
    from torch.nn.functional import interpolate

    # Batch first, channels moved last: only so does torch see a channels-last image and give one.
    batch = torch.from_numpy(np.ascontiguousarray(cut))[None].permute(0, 3, 1, 2)
    small = interpolate(batch, (side, side), mode="bicubic", antialias=True)
    resized: Image = small.permute(0, 2, 3, 1)[0].numpy()
    return resized
