"""Pixel kernels of the CPU executor, in C (``csrc/kernels``).

All read uint8 ``(H, W, 3)``, with pixels contiguous within a row, and write ``out``, another array of
this kind; that the two do not overlap is not checked. They release the GIL. Factors are -7 to 7 unless
stated otherwise. Wrong arguments raise ``ValueError`` or ``TypeError``, or what an object raises when it
is converted to numbers.
"""

from array import array

from numpy import float32, uint8
from numpy.typing import NDArray

Image = NDArray[uint8]

def resize(image: Image, out: Image, mirrored: bool) -> None:
    """Resize bicubically (a = -0.5), antialiased where it shrinks, as Pillow; ``out`` may have any size.

    ``mirrored`` flips the result left to right.
    """

def flip(image: Image, out: Image) -> None:
    """Flip left to right."""

def warp(image: Image, out: Image, map_: tuple[float, ...], fill: int) -> None:
    """Warp bilinearly, weights in 1/128; the map's six numbers are those of ``Affine``."""

def table(image: Image, out: Image, levels: NDArray[uint8]) -> None:
    """Map every level through a table ``(256,)``."""

def brightness(image: Image, out: Image, factor: float) -> None:
    """Multiply each level by ``factor``, 0 to 100, in single precision; fractions are cut off."""

def posterize(image: Image, out: Image, bits: float) -> None:
    """Keep the upper ``bits`` of each level."""

def solarize(image: Image, out: Image, threshold: float) -> None:
    """Invert levels from ``threshold`` up, 0 to 256."""

def contrast(image: Image, out: Image, factor: float) -> None:
    """Multiply the distance from the mean grey by ``factor``; fractions below 15/16 are cut off."""

def saturation(image: Image, out: Image, factor: float) -> None:
    """Multiply the distance from a pixel's own grey by ``factor``; rounded."""

def autocontrast(image: Image, out: Image) -> None:
    """Stretch each channel to 0-255."""

def equalize(image: Image, out: Image) -> None:
    """Equalise the histogram of each channel, as Pillow and torchvision."""

def hue(image: Image, out: Image, turn: float) -> None:
    """Turn the colour circle by sixths of it, 0 to 6; rounded."""

def sharpness(image: Image, out: Image, factor: float) -> None:
    """Multiply the distance from a smoothed image by ``factor``; borders stay; rounded."""

def blur(image: Image, out: Image, taps: array[float] | NDArray[float32]) -> None:
    """Convolve with separable, symmetric ``(2 · reach + 1,)`` weights of sum 1, mirrored at the borders."""
