"""Shear, translation and rotation.

Signs and centres are torchvision's: a shear keeps the upper left corner, a rotation the centre, and a
translation moves by whole pixels.
"""

from __future__ import annotations

import math
from dataclasses import replace

from massrl.views.operations.affine import Affine
from massrl.views.operations.base import Operation


def _shear_x(value: float, height: int, width: int) -> Affine:
    return Affine(1.0, -value, 0.0, 0.0, 1.0, 0.0)


def _shear_y(value: float, height: int, width: int) -> Affine:
    return Affine(1.0, 0.0, 0.0, -value, 1.0, 0.0)


def _translate_x(value: float, height: int, width: int) -> Affine:
    return Affine(1.0, 0.0, whole_pixels(value * width), 0.0, 1.0, 0.0)


def _translate_y(value: float, height: int, width: int) -> Affine:
    return Affine(1.0, 0.0, 0.0, 0.0, 1.0, whole_pixels(value * height))


def _rotate(value: float, height: int, width: int) -> Affine:
    cosine, sine = math.cos(math.radians(value)), math.sin(math.radians(value))
    x, y = width / 2, height / 2
    left, up = x - cosine * x - sine * y, y + sine * x - cosine * y
    return Affine(cosine, sine, left, -sine, cosine, up)


def whole_pixels(shift: float) -> int:
    """Cut the fraction off, but not where only rounding keeps a whole number from being one."""
    return int(round(shift, 6))


shear_x = Operation(
    kind="geometric",
    label="shear x",
    amount="{:+.2f} px/px",
    low=-2.0,
    high=2.0,
    identity=0.0,
    signed=True,
    matrix=_shear_x,
)
shear_y = replace(shear_x, label="shear y", matrix=_shear_y)
translate_x = replace(
    shear_x, label="shift x", amount="{:+.1%}", low=-1.0, high=1.0, matrix=_translate_x
)
translate_y = replace(translate_x, label="shift y", matrix=_translate_y)
rotate = replace(shear_x, label="rotate", amount="{:+.1f}°", low=-360.0, high=360.0, matrix=_rotate)
