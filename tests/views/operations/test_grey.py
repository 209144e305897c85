"""Contrast, saturation and grayscale against torchvision's functional operations.

Tolerance 1 grey level: torchvision cuts fractions off where we round, and a mean grey of cut values
is half a level lower; saturation does so twice, hence 2.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tests.views.conftest import levels_apart, photograph, run, tensor
from torchvision.transforms import functional as F

from massrl.views.operations.base import Step

CASES = [
    ("contrast", 0.2, lambda t: F.adjust_contrast(t, 0.2), 1),
    ("contrast", 1.9, lambda t: F.adjust_contrast(t, 1.9), 1),
    ("saturation", 0.0, lambda t: F.adjust_saturation(t, 0.0), 2),
    ("saturation", 1.9, lambda t: F.adjust_saturation(t, 1.9), 2),
    ("grayscale", None, lambda t: F.rgb_to_grayscale(t, 3), 1),
]


@pytest.mark.parametrize(("name", "value", "reference", "tolerance"), CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_operation_on_the_same_number_equals_torchvision(
    name: str,
    value: float | None,
    reference: Callable[[torch.Tensor], torch.Tensor],
    tolerance: int,
    seed: int,
) -> None:
    """Guards the meaning of every number: a wrong sign, scale or channel order shows here."""
    image = photograph(seed=seed)
    ours = run(image, Step(name, () if value is None else (value,)))
    assert levels_apart(ours, reference(tensor(image))).max() <= tolerance


def test_grayscale_is_saturation_zero() -> None:
    """Guards one meaning of grey, whichever operation draws it."""
    image = photograph()
    grey = run(image, Step("grayscale"))
    assert np.array_equal(grey, run(image, Step("saturation", (0.0,))))
    assert (np.ptp(grey, axis=2) == 0).all()
