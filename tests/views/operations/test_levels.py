"""Brightness, posterize, solarize and invert: the same arithmetic as torchvision's, level by level."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tests.views.conftest import levels_apart, photograph, run, tensor
from torchvision.transforms import functional as F

from massrl.views.operations.base import Step, operations

CASES = [
    ("brightness", 0.3, lambda t: F.adjust_brightness(t, 0.3)),
    ("brightness", 1.7, lambda t: F.adjust_brightness(t, 1.7)),
    ("posterize", 3, lambda t: F.posterize(t, 3)),
    ("posterize", 8, lambda t: F.posterize(t, 8)),
    ("posterize", 0, lambda t: F.posterize(t, 0)),
    ("solarize", 128, lambda t: F.solarize(t, 128)),
    ("solarize", 77.5, lambda t: F.solarize(t, 77.5)),
    ("invert", None, F.invert),
]


@pytest.mark.parametrize(("name", "value", "reference"), CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_lookup_on_the_same_number_equals_torchvision(
    name: str, value: float | None, reference: Callable[[torch.Tensor], torch.Tensor], seed: int
) -> None:
    """Guards the meaning of every number: a wrong sign or scale shows here."""
    image = photograph(seed=seed)
    ours = run(image, Step(name, () if value is None else (float(value),)))
    assert levels_apart(ours, reference(tensor(image))).max() == 0


@pytest.mark.parametrize("name", ["brightness", "posterize", "solarize", "invert"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.33, 0.5, 0.8, 1.0])
def test_table_and_kernel_of_a_lookup_agree_on_every_level(name: str, share: float) -> None:
    """Guards fusing: one lookup is computed, two are looked up, and a view must not show which."""
    operation = operations[name]
    value = operation.low + share * (operation.high - operation.low)
    value = float(round(value)) if operation.integer else value
    image = np.arange(258, dtype=np.uint8).reshape(2, 43, 3)
    out = np.empty_like(image)
    assert operation.cpu is not None
    assert operation.table is not None
    operation.cpu(image, out, value)
    assert np.array_equal(out, operation.table(value)[image])
