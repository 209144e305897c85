"""Outlines."""

from __future__ import annotations


@pytest.mark.parametrize("label", range(len(CLASS_NAMES)))
def test_outline_has_the_asked_extent_and_its_true_area(label):
    """Guards the rule that the labelled object is the largest: it rests on these areas."""
    outline = draw_outline(label, (0.5, 0.5), iter([0.8, 0.3, 0.1, 0.0]))
    spans = np.ptp(outline.contours[0], axis=0)
    assert spans.max() == pytest.approx(0.5)
    side = 512
    grid = (np.indices((side, side)).reshape(2, -1).T[:, ::-1] + 0.5) / side
    centred = outline.at(0.5, 0.5)
    inside = sum(_inside(contour, grid) for contour in centred.contours) % 2
    assert inside.mean() == pytest.approx(outline.area, rel=0.02)


def _inside(contour: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Count crossings of a ray to the right; an independent reckoning of what is inside."""
    crossings = np.zeros(len(points), int)
    for (x1, y1), (x2, y2) in zip(contour, np.roll(contour, -1, axis=0), strict=True):
        spans = (y1 > points[:, 1]) != (y2 > points[:, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = x1 + (points[:, 1] - y1) * (x2 - x1) / (y2 - y1)
        crossings += spans & (points[:, 0] < crossing)
    return crossings % 2
