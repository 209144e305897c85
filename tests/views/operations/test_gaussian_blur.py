"""Gaussian blur: its kernel, and the result against torchvision's, which cuts fractions off: 1 level."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.views.conftest import levels_apart, photograph, run, tensor
from torchvision.transforms import functional as F

from massrl.views.operations.base import Step, operations
from massrl.views.operations.gaussian_blur import blur_taps


@pytest.mark.parametrize("sigma", [0.1, 2.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_blur_of_the_same_sigma_equals_torchvision(sigma: float, seed: int) -> None:
    """Guards a sigma in other units than pixels, and borders that are not mirrored."""
    image = photograph(seed=seed)
    ours = run(image, Step("gaussian_blur", (sigma,)))
    assert levels_apart(ours, F.gaussian_blur(tensor(image), [23, 23], [sigma, sigma])).max() <= 1


@pytest.mark.parametrize("sigma", [0.001, 0.5, 1.0, 2.7, 50.0])
def test_kernel_is_a_gaussian_of_sum_one_over_three_and_a_half_sigmas(sigma: float) -> None:
    """Guards images that get darker, and a kernel that is cut off too near."""
    taps = np.array(blur_taps(sigma))
    reach = math.ceil(3.5 * max(sigma, 0.01))
    assert len(taps) == 2 * reach + 1
    assert taps.sum() == pytest.approx(1, abs=1e-6)
    places = np.arange(-reach, reach + 1)
    wanted = np.exp(-0.5 * (places / max(sigma, 0.01)) ** 2)
    assert taps == pytest.approx(wanted / wanted.sum(), rel=1e-5)


def test_kernels_of_a_batch_have_one_length_and_stay_centred() -> None:
    """Guards a short kernel whose padding would shift its image."""
    rows = operations["gaussian_blur"].numbers([0.2, 2.0, 1.0])
    assert rows.shape == (3, 15)
    assert np.allclose(rows, rows[:, ::-1])
    assert np.array_equal(np.trim_zeros(rows[0]), np.array(blur_taps(0.2)))
