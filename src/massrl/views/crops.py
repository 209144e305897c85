"""Crops: which part of an image a view is made from.

Boxes are whole pixels of the source image, drawn without looking at it. The kinds of crop stand in
``massrl.registry.CROPS``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from massrl.randomness import Stream

_LOG_RATIO = math.log(4 / 3)
_ATTEMPTS = 10  # as torchvision's RandomResizedCrop, before it falls back to the centre


class Box(NamedTuple):
    """A part of an image, in pixels: rows from ``top``, columns from ``left``."""

    top: int
    left: int
    height: int
    width: int


class Crop(Protocol):
    """A kind of crop."""

    def __call__(
        self, stream: Stream, *, height: int, width: int, scale: tuple[float, float]
    ) -> Box:
        """Draw a box within an image of this height and width, pixels, and of an area in ``scale``."""
        ...


def reduction_for(crops: Iterable[tuple[Box, int]]) -> int:
    """Return how many times smaller (1, 2, 4 or 8) an image may be decoded for these parts of it.

    Every part must then still be shrunk by two or more, so that a view's own antialiased resize decides
    what it looks like.

    Args:
        crops: the parts, each with the side of its view, pixels.
    """
    shrunk = min(min(box.height, box.width) / side for box, side in crops)
    return next((times for times in (8, 4, 2) if shrunk >= times * 2), 1)


def on_multiples(box: Box, times: int) -> Box:
    """Move a box by less than ``times`` pixels, onto whole pixels of the smaller image."""
    return Box(*(edge // times * times for edge in box))


def inception_crop(stream: Stream, *, height: int, width: int, scale: tuple[float, float]) -> Box:
    """Draw a box of random area and of aspect ratio 3/4 to 4/3, log-uniform, anywhere in the image.

    Args:
        stream: random numbers.
        height: height of the image, pixels.
        width: width of the image, pixels.
        scale: smallest and largest area of the box as a fraction of the image's.

    Source: Szegedy et al. 2015 (arXiv 1409.4842); the algorithm of torchvision's
    ``RandomResizedCrop``: ten attempts, then the largest central box with an allowed ratio.
    """
    for _ in range(_ATTEMPTS):
        area = height * width * stream.uniform(*scale)
        ratio = math.exp(stream.uniform(-_LOG_RATIO, _LOG_RATIO))
        box_width = round(math.sqrt(area * ratio))
        box_height = round(math.sqrt(area / ratio))
        if 0 < box_width <= width and 0 < box_height <= height:
            top = stream.integer(height - box_height + 1)
            left = stream.integer(width - box_width + 1)
            return Box(top, left, box_height, box_width)
    box_width = max(1, min(width, round(height * 4 / 3)))
    box_height = max(1, min(height, round(width * 4 / 3)))
    return Box((height - box_height) // 2, (width - box_width) // 2, box_height, box_width)


def uniform_side_crop(
    stream: Stream, *, height: int, width: int, scale: tuple[float, float]
) -> Box:
    """Draw a square whose side is a uniform fraction of the image's shorter side, anywhere in it.

    The paper's "random uniform crop" has fractions 0.5 to 1. ``scale`` is an area, as for every
    crop, so that is an area of 0.25 to 1 of the largest square.
    """
    fraction = stream.uniform(math.sqrt(scale[0]), math.sqrt(scale[1]))
    side = max(1, round(fraction * min(height, width)))
    return Box(stream.integer(height - side + 1), stream.integer(width - side + 1), side, side)
