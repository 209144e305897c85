"""Shear, translation and rotation against torchvision's functional operations on the same numbers.

Bilinear weights are steps of 1/128 pixel: mean 1 inside, and at the border of what came in from outside
a pixel may go either way, so the mean is taken over all pixels. Translations are exact.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tests.views.conftest import levels_apart, mean_apart, photograph, run, tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from massrl.views.operations.base import Step, operations
from massrl.views.operations.geometry import whole_pixels


def affine(t: torch.Tensor, **changes: object) -> torch.Tensor:
    settings: dict[str, object] = {
        "angle": 0.0,
        "translate": [0, 0],
        "scale": 1.0,
        "shear": [0.0, 0.0],
    }
    return F.affine(t, **{**settings, **changes}, interpolation=InterpolationMode.BILINEAR)  # type: ignore[arg-type]


CASES = {
    "shear_x": lambda t, v: affine(t, shear=[math.degrees(math.atan(v)), 0.0], center=[0, 0]),
    "shear_y": lambda t, v: affine(t, shear=[0.0, math.degrees(math.atan(v))], center=[0, 0]),
    "translate_x": lambda t, v: affine(t, translate=[int(v * t.shape[2]), 0]),
    "translate_y": lambda t, v: affine(t, translate=[0, int(v * t.shape[1])]),
    "rotate": lambda t, v: F.rotate(t, v, interpolation=InterpolationMode.BILINEAR),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("strength", [-1.0, -0.37, 0.37, 1.0])
def test_geometric_operation_on_the_same_number_equals_torchvision(
    name: str, strength: float
) -> None:
    """Guards sign, centre and half-pixel conventions: half a pixel off fails on these edges."""
    value = strength * {"rotate": 30.0}.get(name, 0.3)
    image = photograph(60, 60)
    apart = levels_apart(run(image, Step(name, (value,))), CASES[name](tensor(image), value))
    exact = name.startswith("translate")
    assert apart.mean() <= (0 if exact else 1.0)
    assert (apart > 4).mean() <= (0 if exact else 0.02)


@pytest.mark.parametrize("name", CASES)
def test_geometric_operation_brings_in_the_fill_level(name: str) -> None:
    """Guards ``fill``: a corner from outside has exactly that grey, and no other pixel does."""
    image = np.full((40, 40, 3), 200, np.uint8)
    value = {"rotate": 30.0}.get(name, 0.4)
    for fill in (0, 90):
        result = run(image, Step(name, (value,)), fill=fill)
        corners = {int(result[y, x, 0]) for y in (0, -1) for x in (0, -1)}
        assert fill in corners
        assert 0.02 < (result == fill).mean() < 0.6
        assert result.min() == fill


def test_flip_and_shift_composed_equal_one_after_the_other() -> None:
    """Guards the order of the matrices: shift then flip would move to the other side."""
    image = photograph()
    shifted = np.zeros_like(image)
    shifted[:, 16:] = image[:, ::-1][:, :-16]
    assert np.array_equal(run(image, Step("translate_x", (0.25,)), flip=True), shifted)


def test_two_shifts_compose_exactly() -> None:
    """Guards against half a pixel lost, or interpolation, in a composition of whole pixels."""
    image = photograph()
    wanted = np.full_like(image, 7)
    wanted[8:, 24:] = image[:-8, :-24]
    steps = (
        Step("translate_x", (0.125,)),
        Step("translate_y", (0.125,)),
        Step("translate_x", (0.25,)),
    )
    assert np.array_equal(run(image, *steps, fill=7), wanted)


def test_quarter_turns_equal_numpys() -> None:
    """Guards centre and direction: four quarter turns are the image itself."""
    image = photograph()
    for count in (1, 2, 3):
        turned = run(image, *[Step("rotate", (90.0,))] * count)
        assert mean_apart(turned, np.rot90(image, count)) < 0.05
    assert mean_apart(run(image, *[Step("rotate", (90.0,))] * 4), image) < 0.05


def test_opposite_geometric_steps_composed_are_the_image_itself() -> None:
    """Guards the composition into one warp: nothing is blurred or cut off on the way."""
    image = photograph()
    for name, value in (("shear_x", 0.3), ("translate_y", 0.4), ("rotate", 27.0)):
        there_and_back = run(image, Step(name, (value,)), Step(name, (-value,)))
        assert mean_apart(there_and_back, image) < 0.05, name


@pytest.mark.parametrize(
    "steps", [("shear_x", "rotate"), ("rotate", "shear_y"), ("translate_x", "rotate")]
)
def test_composed_warp_equals_the_warps_one_by_one(steps: tuple[str, str]) -> None:
    """Guards the product of two maps: swapped, a turn about the corner would come out."""
    image = photograph(96, 96)
    first, second = (Step(name, (15.0 if name == "rotate" else 0.1,)) for name in steps)
    apart = np.abs(run(image, first, second).astype(int) - run(run(image, first), second))
    assert apart[20:-20, 20:-20].mean() < 3
    maps = []
    for step in (first, second):
        matrix = operations[step.operation].matrix
        assert matrix is not None
        maps.append(matrix(step.values[0], 96, 96))
    one, other = maps
    assert not np.allclose(other.after(one), one.after(other))


@pytest.mark.parametrize(
    ("shift", "pixels"),
    [(2.0, 2), (1.9999999, 2), (1.99, 1), (-1.99, -1), (-2.0000001, -2), (0.4, 0)],
)
def test_shift_loses_its_fraction_but_not_a_pixel_to_rounding(shift: float, pixels: int) -> None:
    """Guards 0.29 · 100, which is 28.999…: such a shift must not depend on the last bit."""
    assert whole_pixels(shift) == pixels
