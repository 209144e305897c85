"""Affine maps of the image plane."""

from __future__ import annotations

from typing import NamedTuple


class Affine(NamedTuple):
    """A map from source to result: ``(xx · x + xy · y + x0, yx · x + yy · y + y0)``.

    Coordinates are pixel edges, x to the right and y down, (0, 0) the upper left corner.
    """

    xx: float
    xy: float
    x0: float
    yx: float
    yy: float
    y0: float

    def after(self, first: Affine) -> Affine:
        """Return the map that applies ``first``, then this."""
        xx, xy, x0, yx, yy, y0 = self
        a, b, x, c, d, y = first
        return Affine(
            xx * a + xy * c,
            xx * b + xy * d,
            xx * x + xy * y + x0,
            yx * a + yy * c,
            yx * b + yy * d,
            yx * x + yy * y + y0,
        )


def mirror(width: int) -> Affine:
    """Return the map of a flip from left to right."""
    return Affine(-1.0, 0.0, width, 0.0, 1.0, 0.0)
