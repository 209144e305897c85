"""Pixel kernels of the CPU executor, in C (``csrc/kernels``).

All read uint8 ``(H, W, 3)``, whose rows may lie apart and whose pixels may not, and write ``out``, which
is another array of that kind; that the two do not overlap is not checked. They let other threads run.
Factors are -7 to 7 unless it is said otherwise. What they are given wrongly is a ``ValueError`` or a
``TypeError``, or what the object itself raises when it is asked for its numbers.
"""

from array import array

from numpy import float32, uint8
from numpy.typing import NDArray

Image = NDArray[uint8]

def resize(image: Image, out: Image, mirrored: bool) -> None:
    """Bicubic (a = -0.5), antialiased where it shrinks: Pillow's filter; ``out`` may have any size.

    Mirrored, it is what ``flip`` makes of the result.
    """

def flip(image: Image, out: Image) -> None:
    """Left to right."""

def warp(image: Image, out: Image, map_: tuple[float, ...], fill: int) -> None:
    """Bilinear, weights in 1/128; the map's six numbers are those of ``program.Affine``."""

def table(image: Image, out: Image, levels: NDArray[uint8]) -> None:
    """Level to level, ``(256,)``."""

def brightness(image: Image, out: Image, factor: float) -> None:
    """Each level times ``factor``, of 0 to 100, in single precision; its fraction is cut off."""

def posterize(image: Image, out: Image, bits: float) -> None:
    """The upper ``bits`` of each level."""

def solarize(image: Image, out: Image, threshold: float) -> None:
    """Levels from ``threshold`` up, of 0 to 256, become 255 minus themselves."""

def contrast(image: Image, out: Image, factor: float) -> None:
    """The distance from the mean grey, times ``factor``; a fraction below 15/16 is cut off."""

def saturation(image: Image, out: Image, factor: float) -> None:
    """The distance from a pixel's own grey, times ``factor``; rounded."""

def autocontrast(image: Image, out: Image) -> None:
    """Each channel stretched to 0-255."""

def equalize(image: Image, out: Image) -> None:
    """Histogram equalisation of each channel, as Pillow and torchvision have it."""

def hue(image: Image, out: Image, turn: float) -> None:
    """A turn on the colour circle, in sixths of it, 0 to 6; rounded."""

def sharpness(image: Image, out: Image, factor: float) -> None:
    """The distance from a smoothed image, times ``factor``; borders stay; rounded."""

def blur(image: Image, out: Image, taps: array[float] | NDArray[float32]) -> None:
    """Separable and symmetric: ``(2 · reach + 1,)`` weights whose sum is 1, mirrored at the borders."""
