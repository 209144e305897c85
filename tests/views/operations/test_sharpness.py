"""Sharpness against torchvision's, which cuts fractions off where we round: 1 level."""

from __future__ import annotations

import numpy as np
import pytest
from tests.views.conftest import levels_apart, photograph, run, tensor
from torchvision.transforms import functional as F

from massrl.views.operations.base import Step


@pytest.mark.parametrize("factor", [0.1, 1.9])
@pytest.mark.parametrize("seed", [0, 1])
def test_sharpness_on_the_same_factor_equals_torchvision(factor: float, seed: int) -> None:
    """Guards the smoothing kernel, and a factor of 0 and 2 exchanged."""
    image = photograph(seed=seed)
    ours = run(image, Step("sharpness", (factor,)))
    assert levels_apart(ours, F.adjust_sharpness(tensor(image), factor)).max() <= 1


@pytest.mark.parametrize("shape", [(2, 9), (9, 2), (1, 1)])
def test_image_that_is_border_alone_stays(shape: tuple[int, int]) -> None:
    """Guards images of two pixels or less, which have no inside to smooth."""
    image = photograph(16, 16)[: shape[0], : shape[1]].copy()
    assert np.array_equal(run(image, Step("sharpness", (0.0,))), image)
