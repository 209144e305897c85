"""Autocontrast and equalize: the same arithmetic as torchvision's."""

from __future__ import annotations

import numpy as np
import pytest
from tests.views.conftest import levels_apart, photograph, run, tensor
from torchvision.transforms import functional as F

from massrl.views.operations.base import Step

REFERENCES = {"autocontrast": F.autocontrast, "equalize": F.equalize}


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("seed", [0, 1])
def test_operation_equals_torchvision(name: str, seed: int) -> None:
    """Guards the histogram of each channel by itself, and the rounding of its table."""
    image = photograph(seed=seed)
    assert levels_apart(run(image, Step(name)), REFERENCES[name](tensor(image))).max() == 0


@pytest.mark.parametrize("name", REFERENCES)
def test_image_of_one_level_stays(name: str) -> None:
    """Guards a division by a range of nothing."""
    image = np.full((9, 7, 3), 93, np.uint8)
    assert np.array_equal(run(image, Step(name)), image)
