"""Outlines of the classes of the embedded data set, and their rotation, scale and position."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

_TILT = np.deg2rad(20.0)


class Outline(NamedTuple):
    """One object's class and shape.

    Attributes:
        label: index of its class.
        contours: float ``(P, 2)`` each, x and y as fractions of the image's side; a second contour is a
            hole.
        area: as a fraction of the image's area.
    """

    label: int
    contours: list[np.ndarray]
    area: float

    def scaled(self, factor: float) -> Outline:
        """Return the outline, larger or smaller by a factor."""
        contours = [contour * factor for contour in self.contours]
        return Outline(self.label, contours, self.area * factor**2)

    def at(self, across: float, down: float) -> Outline:
        """Return the outline within the image, with a margin; 0, 0 is top left and 1, 1 bottom right."""
        low, high = _box(self)
        corner = 0.02 + (0.96 - (high - low)) * (across, down) - low
        return Outline(self.label, [contour + corner for contour in self.contours], self.area)

    def overlaps(self, other: Outline) -> bool:
        """Return whether the other's bounding box covers more than a tenth of this one's."""
        low, high = _box(self)
        other_low, other_high = _box(other)
        shared = np.clip(np.minimum(high, other_high) - np.maximum(low, other_low), 0, None)
        return bool(shared.prod() > 0.1 * (high - low).prod())


def draw_outline(label: int, extent: tuple[float, float], *, numbers: Iterator[float]) -> Outline:
    """Draw an outline of a class, rotated by up to 20 degrees, stretched, mirrored or not, and scaled.

    Args:
        label: index of the class.
        extent: range of the longer side, as fractions of the image's side.
        numbers: random numbers, uniform on [0, 1); four are used.

    Returns:
        The outline, around the origin.
    """
    tilt = (2 * next(numbers) - 1) * _TILT
    stretch = 0.87 + 0.26 * next(numbers)
    mirror = -1.0 if next(numbers) < 0.5 else 1.0
    cosine, sine = np.cos(tilt), np.sin(tilt)
    matrix = np.array([[mirror * cosine, mirror * sine], [-stretch * sine, stretch * cosine]])
    unit = _OUTLINES[label]
    turned = Outline(label, [contour @ matrix for contour in unit.contours], unit.area * stretch)
    low, high = _box(turned)
    length = extent[0] + (extent[1] - extent[0]) * next(numbers)
    return turned.scaled(length / max(high - low))


def _box(outline: Outline) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the greatest x and y."""
    return outline.contours[0].min(axis=0), outline.contours[0].max(axis=0)


def _arc(start: float, stop: float, number: int) -> np.ndarray:
    """Return points on the unit circle; angles in degrees, clockwise from the right."""
    angles = np.deg2rad(np.linspace(start, stop, number))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _crescent() -> np.ndarray:
    tip, middle = _arc(42, 42, 1)[0], 0.35  # both arcs end in the tips; centre of the inner one
    reach = float(np.hypot(tip[0] - middle, tip[1]))
    bend = float(np.rad2deg(np.arctan2(tip[1], tip[0] - middle)))
    inner = _arc(360 - bend, bend, 24) * reach + (middle, 0)
    return np.concatenate([_arc(42, 318, 36), inner[1:-1]])


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 49)[:-1]
    height = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([16 * np.sin(t) ** 3, -height], axis=1)


def _contours() -> dict[str, list[np.ndarray]]:
    """Return the outline of each class, by name; their scale does not matter."""
    arrow = [(-3, -1), (0, -1), (0, -3), (3, 0), (0, 3), (0, 1), (-3, 1)]
    hourglass = [(-2.4, -3), (2.4, -3), (0.4, 0), (2.4, 3), (-2.4, 3), (-0.4, 0)]
    cross = np.array([(1, -3), (1, -1), (3, -1), (3, 1), (1, 1), (1, 3)], float)
    star = _arc(-90, 234, 10)
    star[1::2] *= 0.45
    circle = _arc(0, 352.5, 48)
    return {
        "arrow": [np.array(arrow, float)],
        "circle": [circle],
        "crescent": [_crescent()],
        "cross": [np.concatenate([cross, -cross])],
        "heart": [_heart()],
        "hourglass": [np.array(hourglass, float)],
        "ring": [circle, circle * 0.56],
        "square": [np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], float)],
        "star": [star],
        "triangle": [_arc(-90, 150, 3)],
    }


def _area(contours: list[np.ndarray]) -> float:
    areas = [float(cv2.contourArea(contour.astype(np.float32))) for contour in contours]
    return areas[0] - sum(areas[1:])


CLASS_NAMES = tuple(_contours())
_OUTLINES = [
    Outline(label, contours, _area(contours)) for label, contours in enumerate(_contours().values())
]
