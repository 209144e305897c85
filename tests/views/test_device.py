"""The device executor against the CPU's, on the same plans, both on the CPU.

Tolerances, in grey levels of 0-255 and over all pixels of a view. For one operation:

* 0: tables, autocontrast, equalize, erase, mirrors and whole-pixel shifts are the same arithmetic.
* 1: contrast, saturation, sharpness, hue and blur are whole numbers in one executor, floats in the other.
* warp: the CPU executor places samples on 1/128 of a pixel; mean 0.25 at most.

For whole programs of a policy: mean 1 for every view, 0.25 for 99 of 100, and at most one pixel in a
thousand more than 8 levels apart, since a level at the threshold of a solarisation may fall
to either side of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from tests.views.conftest import EXAMPLES, photograph

from massrl.views import cpu
from massrl.views.crops import Box
from massrl.views.device import Crops, execute, group_instructions
from massrl.views.layouts import Layout
from massrl.views.operations.base import Program, Step
from massrl.views.plan import Planner, ViewPlan
from massrl.views.program import compile_view

EXACT = {"brightness", "posterize", "solarize", "invert", "autocontrast", "equalize", "cutout"}
EXACT |= {"translate_x", "translate_y", "identity"}
WARPS = {"rotate", "shear_x", "shear_y"}
POLICIES = [
    "simclr(solarize_prob=0.3)",
    "byol-1",
    "byol-2",
    "weak",
    "randaugment(2,9)",
    "randaugment-expanded(3,9)",
    "autoaugment(imagenet)",
    "autoaugment(cifar10)",
    "autoaugment(svhn)",
    "fast-autoaugment(imagenet)",
    "fast-autoaugment(cifar10)",
    "fast-autoaugment(svhn)",
    "trivialaugment",
]


def on_device(images: Sequence[np.ndarray], programs: Sequence[Program]) -> np.ndarray:
    """One view of each image, made as a batch."""
    work = group_instructions(programs, side=images[0].shape[0])
    pixels = torch.from_numpy(np.stack(images))[None]
    return execute(Crops(pixels, torch.tensor([0]), *work))[0].numpy()


def on_cpu(images: Sequence[np.ndarray], programs: Sequence[Program]) -> np.ndarray:
    return np.stack(
        [
            cpu.run(image, own, out=np.empty_like(image))
            for image, own in zip(images, programs, strict=True)
        ]
    )


def program(*steps: Step, side: int, flip: bool = False, fill: int = 0) -> Program:
    view = ViewPlan("test", 0, Box(0, 0, side, side), flip, steps)
    return compile_view(view, height=side, width=side, fill=fill)


@pytest.mark.parametrize("name", list(EXAMPLES))
@pytest.mark.parametrize("side", [1, 2, 3, 17, 64])
def test_operation_is_the_same_on_both_executors(name: str, side: int) -> None:
    """Guards one meaning: a sign, a centre, a rounding or a border that only one executor has."""
    images = [photograph(64, 64, seed=seed)[:side, :side].copy() for seed in range(6)]
    images.append(np.repeat(images[0][:, :, :1], 3, axis=2))  # grey
    step = Step(name, EXAMPLES[name])
    programs = [
        program(step, side=side, flip=number % 2 == 1, fill=90) for number in range(len(images))
    ]
    ours, theirs = on_device(images, programs), on_cpu(images, programs)
    apart = np.abs(ours.astype(int) - theirs)
    if name in WARPS:
        assert apart.mean() <= 0.25
    else:
        assert apart.max() <= (0 if name in EXACT else 1)


@pytest.mark.parametrize("name", POLICIES)
def test_thousand_plans_of_a_policy_are_the_same_on_both_executors(name: str) -> None:
    """Guards whole programs: order, grouping and scattering among views that do other things."""
    layout = Layout(
        name="one", summary="", arrangement="independent", num_crops=1, policies=(name,)
    )
    planner = Planner(layout, side=24, seed=0)
    photos = [photograph(24, 24, seed=seed) for seed in range(50)]
    plans = [planner.plan(epoch=0, index=index, height=24, width=24) for index in range(1000)]
    images = [photos[plan.index % len(photos)] for plan in plans]
    programs = [compile_view(plan.views[0], height=24, width=24, fill=0) for plan in plans]
    ours, theirs = on_device(images, programs), on_cpu(images, programs)
    apart = np.abs(ours.astype(int) - theirs).reshape(1000, -1)
    assert apart.mean(axis=1).max() <= 1
    assert np.quantile(apart.mean(axis=1), 0.99) <= 0.25
    assert (apart > 8).mean() <= 0.001
    assert (theirs != np.stack(images)).any() or name == "weak"


@pytest.mark.parametrize("name", [*POLICIES, "all kernels"])
@pytest.mark.parametrize("side", [24, 64])
def test_view_does_not_depend_on_its_neighbours_in_the_batch(name: str, side: int) -> None:
    """Guards replay and accumulation: a view is a function of its image and its plan alone."""
    photos = [photograph(side, side, seed=seed) for seed in range(60)]
    if name == "all kernels":
        sigmas = np.linspace(0.1, 5, 60)
        programs = [program(Step("gaussian_blur", (float(s),)), side=side) for s in sigmas]
    else:
        layout = Layout(
            name="one", summary="", arrangement="independent", num_crops=1, policies=(name,)
        )
        planner = Planner(layout, side=side, seed=1)
        plans = [planner.plan(epoch=0, index=i, height=side, width=side) for i in range(60)]
        programs = [compile_view(plan.views[0], height=side, width=side, fill=0) for plan in plans]
    together = on_device(photos, programs)
    alone = [on_device([photo], [own])[0] for photo, own in zip(photos, programs, strict=True)]
    assert np.array_equal(together, np.stack(alone))


def test_input_of_the_device_executor_is_not_written_to() -> None:
    """Guards crops that several views show."""
    images = [photograph(16, 16, seed=seed) for seed in range(4)]
    before = np.stack(images)
    on_device(images, [program(Step("invert"), side=16)] * 4)
    assert np.array_equal(np.stack(images), before)


def test_views_that_do_the_same_next_are_one_group() -> None:
    """Guards speed: a loop over images in disguise is a group for each view."""
    alike = [program(Step("hue", (turn,)), side=8) for turn in (0.1, 0.2, 0.3)]
    other = program(Step("equalize"), Step("hue", (0.1,)), side=8)
    groups, members, values = group_instructions([*alike, other, []], side=8)
    assert [(group.kind, group.num_views, group.width) for group in groups] == [
        ("equalize", 1, 1),
        ("hue", 3, 1),
        ("hue", 1, 1),
    ]
    assert members.tolist() == [3, 0, 1, 2, 3]
    assert values.tolist() == pytest.approx([0, 0.6, 1.2, 1.8, 0.6])
    assert group_instructions([], side=8)[0] == []


@pytest.mark.parametrize("shift", [0.9, 1.0, -1.0])
def test_shifts_that_add_up_to_more_than_the_side_leave_the_fill(shift: float) -> None:
    """Guards ``randaugment(3,30)``: three shifts one way move the image out of its view."""
    image = photograph(16, 24)[:, :16].copy()
    for name in ("translate_x", "translate_y"):
        steps = program(Step(name, (shift,)), Step(name, (shift,)), side=16, flip=True, fill=77)
        for made in (on_cpu([image], [steps]), on_device([image], [steps])):
            assert (made == 77).all()
