"""The loss matrix as a picture."""

from __future__ import annotations

import math

import numpy as np
import pytest

from massrl.report.heat_map import Matrix
from massrl.report.matrix_picture import draw_matrix


def matrix(count: int, value: float | None = None) -> Matrix:
    rows = [
        [None if i == j else (i + j / 10 if value is None else value) for j in range(count)]
        for i in range(count)
    ]
    return Matrix(names=[f"view {number}" for number in range(count)], rows=rows)


@pytest.mark.parametrize("count", [1, 2, 8, 20])
def test_picture_grows_with_the_number_of_views(count: int) -> None:
    """Fails when many views are squeezed into cells that nobody can see."""
    picture = draw_matrix(matrix(count))
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert min(picture.shape[:2]) > 68 * count


def test_low_losses_are_pale_and_high_ones_dark() -> None:
    """Fails when the scale is turned around."""
    picture = draw_matrix(Matrix(names=["a", "b"], rows=[[0.0, 0.0], [0.0, 9.0]])).astype(int)
    darkest = np.argwhere(picture.sum(axis=2) < 250)
    blue = darkest[[picture[y, x, 2] > picture[y, x, 0] + 40 for y, x in darkest]]
    assert len(blue) > 500
    pale = np.argwhere((picture == (236, 243, 250)).all(axis=2))  # the other three
    assert (blue.mean(axis=0) > pale.mean(axis=0) + 20).all()
    assert (blue.max(axis=0) >= pale.max(axis=0)).all()


@pytest.mark.parametrize("value", [0.5, math.nan])
def test_equal_and_missing_values_can_be_drawn(value: float) -> None:
    """Fails when a range of zero divides by it, or a run without losses has no picture."""
    assert draw_matrix(matrix(3, value)).std() > 0


def test_rows_of_the_matrix_are_rows_of_the_picture_and_unused_pairs_blank() -> None:
    """Fails when rows and columns are exchanged, or a pair that is not in use has a colour."""
    rows = [[None, 4.0], [0.5, None]]
    picture = draw_matrix(Matrix(names=["first", "second"], rows=rows)).astype(int)
    dark = np.argwhere((picture[:, :, 2] - picture[:, :, 0] > 60) & (picture.sum(2) < 330))
    assert len(dark) > 500
    blank = np.argwhere((picture == (0xF1, 0xF2, 0xF4)).all(axis=2))
    centre, middle = dark.mean(axis=0), blank.mean(axis=0)
    assert centre[0] < middle[0]  # the first row
    assert centre[1] > middle[1]  # the second column
