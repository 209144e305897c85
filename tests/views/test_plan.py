"""Plans: drawn from (seed, epoch, index) alone, written as JSON, replayed to equal pixels."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from massrl.views.cpu import execute
from massrl.views.crops import Box
from massrl.views.layouts import Layout, layout_named
from massrl.views.operations.base import Step
from massrl.views.plan import Plan, Planner, ViewPlan

POLICIES = (
    "simclr",
    "byol-2",
    "randaugment-expanded(3,9)",
    "autoaugment(svhn)",
    "fast-autoaugment(cifar10)",
    "trivialaugment",
    "weak",
)
EVERYTHING = Layout(
    name="everything", summary="", arrangement="shared", num_crops=2, policies=POLICIES, fill=90
)


def plan(
    layout: Layout = EVERYTHING,
    *,
    seed: int = 1,
    epoch: int = 2,
    index: int = 3,
    height: int = 60,
    width: int = 80,
) -> Plan:
    planner = Planner(layout, side=32, seed=seed)
    return planner.plan(epoch=epoch, index=index, height=height, width=width)


def plan_from_json(content: dict[str, Any]) -> Plan:
    """A plan from what ``to_json`` wrote."""
    views = tuple(
        ViewPlan(
            policy=view["policy"],
            crop=view["crop"],
            box=Box(*view["box"]),
            flip=view["flip"],
            steps=tuple(Step(name, tuple(values)) for name, *values in view["steps"]),
            side=view.get("side"),
        )
        for view in content["views"]
    )
    return Plan(**{**content, "views": views})


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def test_plan_can_be_read_back_from_its_json(image: np.ndarray) -> None:
    """Guards the record of a view: no number may be lost or change its type on the way."""
    for index in range(60):
        drawn = plan(index=index)
        text = json.dumps(drawn.to_json(), allow_nan=False)
        read = plan_from_json(json.loads(text))
        assert read == drawn
        assert str(read) == str(drawn)
        if index < 10:
            assert np.array_equal(execute(image, read), execute(image, drawn))


def test_plan_drawn_again_from_its_three_numbers_is_the_same(image: np.ndarray) -> None:
    """Guards replay: any view of any past step from seed, epoch and index, by a planner anew."""
    planner = Planner(EVERYTHING, side=32, seed=1)
    for index in (9, 0, 3):  # whatever was drawn before
        planner.plan(epoch=2, index=index, height=60, width=80)
    again = planner.plan(epoch=2, index=3, height=60, width=80)
    assert again == plan()
    assert np.array_equal(execute(image, again), execute(image, plan()))


@pytest.mark.parametrize("change", [{"seed": 2}, {"epoch": 3}, {"index": 4}])
def test_plan_of_another_seed_epoch_or_index_is_another_one(change: dict[str, int]) -> None:
    """Guards against a number that is left out: every epoch would show the same views."""
    one, other = plan(), plan(**change)
    differs = [
        a.box != b.box or a.steps != b.steps for a, b in zip(one.views, other.views, strict=True)
    ]
    assert all(differs)


def test_view_of_a_plan_does_not_change_when_views_are_added() -> None:
    """Guards the streams: a fifth policy must not change what the first four draw."""
    few = replace(layout_named("massrl-4"))
    many = replace(few, policies=(*few.policies, "trivialaugment", "weak"))
    for index in range(20):
        longer = plan(many, index=index).views[:4]
        assert longer == plan(few, index=index).views


def test_steps_of_a_view_do_not_depend_on_its_crop() -> None:
    """Guards against operations that shift when a crop needs one attempt more."""
    square, strip = plan(), plan(height=9, width=900)
    assert [v.steps for v in square.views] == [v.steps for v in strip.views]
    assert [v.flip for v in square.views] == [v.flip for v in strip.views]


def test_views_of_one_shared_crop_have_one_box() -> None:
    """Guards the shared layout: all policies must see the same part of the image."""
    for index in range(30):
        views = plan(index=index).views
        by_crop = {crop: {v.box for v in views if v.crop == crop} for crop in (0, 1)}
        assert all(len(found) == 1 for found in by_crop.values())
        assert by_crop[0] != by_crop[1]


def test_plan_prints_every_view_with_its_policy_crop_flip_and_numbers() -> None:
    """Guards what a person reads: each step by name, and nothing cut off."""
    drawn = plan()
    head, *lines = str(drawn).splitlines()
    assert head == "image 3, epoch 2, seed 1: 80×60 to 14 views of 32 px"
    assert len(lines) == 14
    for line, view in zip(lines, drawn.views, strict=True):
        box = view.box
        assert view.policy in line
        assert f"{box.width}×{box.height}+{box.left}+{box.top}" in line
        assert (", flip" in line) == view.flip
        assert all(str(step) in line for step in view.steps)


def test_plan_is_frozen() -> None:
    """Guards against a plan that is changed after it was logged."""
    with pytest.raises(AttributeError):
        plan().side = 3  # type: ignore[misc]


def test_words_of_a_view_are_its_flip_and_steps() -> None:
    """Guards sheets: a view that is only cropped says so, and a flip comes first."""
    box = Box(0, 0, 9, 9)
    assert ViewPlan("weak", 0, box, False, ()).words() == [("crop alone",)]
    assert ViewPlan("weak", 0, box, True, ()).words() == [("flip",)]
    view = ViewPlan("weak", 0, box, True, (Step("rotate", (5.0,)), Step("invert")))
    assert view.words() == [("flip",), ("rotate", "+5.0°"), ("invert",)]


def test_plan_of_local_views_has_their_sides_in_its_json() -> None:
    """Guards the record of a multi-crop run."""
    drawn = plan(replace(layout_named("byol"), local_crops=2, local_size=0.5))
    content = json.loads(json.dumps(drawn.to_json()))
    assert [view.get("side") for view in content["views"]] == [None, None, 16, 16]
    assert plan_from_json(content) == drawn
