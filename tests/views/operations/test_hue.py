"""Hue against torchvision's, which cuts fractions off on its way back from HSV where we round: 1 level."""

from __future__ import annotations

import numpy as np
import pytest
from tests.views.conftest import levels_apart, photograph, run, tensor
from torchvision.transforms import functional as F

from massrl.views.operations.base import Step


@pytest.mark.parametrize("turn", [-0.5, -0.1, -0.01, 0.0, 0.03, 0.1, 0.4])
def test_hue_on_the_same_turn_equals_torchvision(turn: float) -> None:
    """Guards against a hue in degrees, in half turns, or with the sign reversed."""
    image = photograph()
    apart = levels_apart(run(image, Step("hue", (turn,))), F.adjust_hue(tensor(image), turn))
    assert apart.max() <= 1


def test_half_turns_of_either_sign_are_the_same() -> None:
    """Guards the way around the circle: half a turn has no direction."""
    image = photograph()
    assert np.array_equal(run(image, Step("hue", (0.5,))), run(image, Step("hue", (-0.5,))))
