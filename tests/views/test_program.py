"""Programs: what is fused, in which order, and that fusing changes no pixel."""

from __future__ import annotations

import numpy as np
import pytest
from tests.views.conftest import EXAMPLES, mean_apart, photograph, run

from massrl.views.crops import Box
from massrl.views.operations.affine import Affine
from massrl.views.operations.base import Program, Step
from massrl.views.plan import ViewPlan
from massrl.views.program import MIRROR, TABLE, WARP, Warp, compile_view, table_of


def program(*steps: Step, flip: bool = False, fill: int = 0) -> Program:
    view = ViewPlan("test", 0, Box(0, 0, 16, 16), flip, steps)
    return compile_view(view, height=16, width=16, fill=fill)


@pytest.mark.parametrize("seed", range(20))
def test_steps_fused_equal_the_steps_one_by_one(seed: int) -> None:
    """Guards the fused table, and its flush before a step that needs pixels: order must be kept."""
    generator = np.random.default_rng(seed)
    steps = [
        Step("brightness", (1.3,)),
        Step("posterize", (4.0,)),
        Step("solarize", (120.0,)),
        Step("invert"),
        Step("contrast", (0.6,)),
        Step("equalize"),
        Step("saturation", (1.5,)),
        Step("gaussian_blur", (0.8,)),
        Step("identity"),
        Step("rotate", (25.0,)),
        Step("brightness", (0.7,)),
    ]
    order = [steps[i] for i in generator.permutation(len(steps))]
    image = photograph(seed=seed)
    single = image
    for step in order:
        single = run(single, step)
    assert np.array_equal(run(image, *order), single)


def test_flip_comes_before_the_steps() -> None:
    """Guards the meaning of a plan: a shift to the right is to the right of the mirrored crop."""
    image = photograph()
    mirrored = np.ascontiguousarray(image[:, ::-1])
    assert np.array_equal(run(image, flip=True), mirrored)
    for name, values in EXAMPLES.items():
        step = Step(name, values)
        assert np.array_equal(run(image, step, flip=True), run(mirrored, step)) or (
            mean_apart(run(image, step, flip=True), run(mirrored, step)) < 0.5
        ), step


def test_neighbouring_lookups_are_one_table_and_one_alone_is_computed() -> None:
    """Guards speed: a table for one operation costs more than the operation."""
    ((kind, value),) = program(Step("brightness", (1.5,)))
    assert (kind, value) == ("brightness", 1.5)
    ((kind, table),) = program(
        Step("brightness", (1.5,)), Step("invert"), Step("posterize", (1.0,))
    )
    assert kind == TABLE
    assert table[[0, 40, 100, 255]].tolist() == [128, 128, 0, 0]


def test_neighbouring_geometric_steps_and_the_flip_are_one_warp() -> None:
    """Guards speed and quality: each warp costs a pass and blurs once."""
    ((kind, warp),) = program(
        Step("shear_x", (0.5,)), Step("translate_x", (0.25,)), flip=True, fill=7
    )
    assert kind == WARP
    assert warp == Warp(Affine(-1.0, -0.5, 16.0 + 4.0, 0.0, 1.0, 0.0), 7)


def test_flip_is_an_instruction_of_its_own_only_before_other_kinds() -> None:
    """Guards the executor, which mirrors in the resize where a mirror comes first."""
    assert program(flip=True) == [(MIRROR, None)]
    kinds = [kind for kind, _ in program(Step("equalize"), Step("rotate", (5.0,)), flip=True)]
    assert kinds == [MIRROR, "equalize", WARP]
    assert program() == []


@pytest.mark.parametrize(
    "step", [Step("hue", (0.0,)), Step("hue", (1.0,)), Step("gaussian_blur", (0.0,))]
)
def test_step_that_changes_nothing_is_no_instruction(step: Step) -> None:
    """Guards speed, and rounding twice."""
    assert program(step) == []


def test_table_of_an_instruction_is_its_operations() -> None:
    """Guards the device, which looks single lookups up too."""
    (lookup,) = program(Step("solarize", (200.0,)))
    assert table_of(lookup)[[199, 200, 255]].tolist() == [199, 55, 0]
