"""Outlines of the shapes: extent, area, position, overlap."""

from __future__ import annotations

from itertools import repeat

import numpy as np
import pytest

from massrl.data.sources.shape_outlines import CLASS_NAMES, Outline, draw_outline


@pytest.mark.parametrize("label", range(len(CLASS_NAMES)))
def test_outline_has_the_given_extent_and_its_true_area(label: int) -> None:
    """Guards the rule that the labelled object is the largest, which compares these areas."""
    outline = draw_outline(label, (0.5, 0.5), numbers=iter([0.8, 0.3, 0.1, 0.0]))
    spans = np.ptp(outline.contours[0], axis=0)
    assert spans.max() == pytest.approx(0.5)
    side = 512
    grid = (np.indices((side, side)).reshape(2, -1).T[:, ::-1] + 0.5) / side
    centred = outline.at(0.5, 0.5)
    inside = sum(_inside(contour, grid) for contour in centred.contours) % 2
    assert inside.mean() == pytest.approx(outline.area, rel=0.02)


def _inside(contour: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Count crossings of a ray to the right: an independent test of what is inside."""
    crossings = np.zeros(len(points), int)
    for (x1, y1), (x2, y2) in zip(contour, np.roll(contour, -1, axis=0), strict=True):
        spans = (y1 > points[:, 1]) != (y2 > points[:, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = x1 + (points[:, 1] - y1) * (x2 - x1) / (y2 - y1)
        crossings += spans & (points[:, 0] < crossing)
    return crossings % 2


def square(side: float, left: float = 0.0, top: float = 0.0) -> Outline:
    right, bottom = left + side, top + side
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float)
    return Outline(0, [corners], side**2)


@pytest.mark.parametrize(("across", "down"), [(0.0, 0.0), (1.0, 0.0), (0.3, 1.0)])
def test_placed_outline_is_within_the_image_with_a_margin(across: float, down: float) -> None:
    """Guards objects that are cut by the edge."""
    placed = square(0.5).at(across, down).contours[0]
    low, high = placed.min(axis=0), placed.max(axis=0)
    assert np.allclose(high - low, 0.5)
    assert np.allclose(low, [0.02 + 0.46 * across, 0.02 + 0.46 * down])
    assert high.max() <= 0.98 + 1e-9


def test_scaled_outline_has_the_area_of_its_scale() -> None:
    """Guards the order by area after an object was made smaller."""
    outline = square(0.4).scaled(0.5)
    assert outline.area == pytest.approx(0.04)
    assert np.ptp(outline.contours[0], axis=0).tolist() == pytest.approx([0.2, 0.2])


def test_outlines_overlap_from_a_tenth_of_the_box_on() -> None:
    """Guards scenes whose objects hide each other, and crowded scenes that find no place."""
    first = square(1.0)
    assert first.overlaps(square(1.0, left=0.89))
    assert not first.overlaps(square(1.0, left=0.91))
    assert not first.overlaps(square(1.0, left=5))
    assert not first.overlaps(square(0.2, left=0.1, top=0.1))
    assert square(0.2, left=0.1, top=0.1).overlaps(first)


def test_outline_is_turned_by_at_most_twenty_degrees() -> None:
    """Guards squares that turn into diamonds, and classes that differ by their rotation alone."""
    label = CLASS_NAMES.index("square")
    for draw in (0.0, 0.999):
        outline = draw_outline(label, (0.5, 0.5), numbers=iter([draw, 0.5, 0.6, 0.0]))
        edge = outline.contours[0][1] - outline.contours[0][0]
        angle = abs(np.rad2deg(np.arctan2(edge[1], edge[0])))
        assert angle == pytest.approx(20, abs=0.5)


def test_outline_uses_four_random_numbers() -> None:
    """Guards scenes against changing: every further number would shift those after it."""
    numbers = iter([0.5, 0.5, 0.5, 0.5, 0.25])
    draw_outline(0, (0.3, 0.6), numbers=numbers)
    assert next(numbers) == 0.25
    assert draw_outline(0, (0.3, 0.6), numbers=repeat(0.5)).label == 0
