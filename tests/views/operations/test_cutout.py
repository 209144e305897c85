"""Cutout: where its square is, and its colour."""

from __future__ import annotations

import numpy as np
import pytest
from tests.views.conftest import run

from massrl.views.operations.base import Step
from massrl.views.operations.cutout import CUTOUT_COLOUR


@pytest.mark.parametrize(
    ("x", "y", "rows", "columns"),
    [
        (0.5, 0.5, (15, 25), (15, 25)),
        (0.0, 1.0, (35, 40), (0, 10)),
        (1.0, 0.0, (0, 10), (35, 40)),
    ],
)
def test_cutout_erases_a_square_of_its_side_about_its_centre(
    x: float, y: float, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    """Guards Fast AutoAugment's cutout: the side is a fraction; pushed in or cut off at a border."""
    image = np.zeros((40, 40, 3), np.uint8)
    result = run(image, Step("cutout", (0.25, x, y)))
    wanted = np.zeros((40, 40), bool)
    wanted[slice(*rows), slice(*columns)] = True
    assert np.array_equal((result == CUTOUT_COLOUR).all(axis=2), wanted)
    assert (result[~wanted] == 0).all()
