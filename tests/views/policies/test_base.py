"""Blocks that policies are made of, and what holds for all policies."""

from __future__ import annotations

import collections
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats
from tests.views.policies.conftest import sequences, values_by_operation

from massrl.errors import ConfigError
from massrl.randomness import Stream
from massrl.views.operations.base import Step, operations
from massrl.views.policies.base import Draw, Group, make_step, scale_strength


def test_group_that_chooses_draws_that_many_members_in_their_own_order() -> None:
    """Guards ``choose``: without replacement, every pair equally often, order kept."""
    members = tuple(Draw(operation=name) for name in ("invert", "equalize", "grayscale"))
    drawn = sequences(Group(members=members, choose=2), 3000)
    counts = collections.Counter(tuple(step.operation for step in steps) for steps in drawn)
    assert set(counts) == {
        ("invert", "equalize"),
        ("invert", "grayscale"),
        ("equalize", "grayscale"),
    }
    assert stats.chisquare(list(counts.values())).pvalue > 0.01


def test_group_that_shuffles_its_choice_draws_every_order() -> None:
    """Guards ``shuffle`` beside ``choose``: both orders of each pair."""
    members = tuple(Draw(operation=name) for name in ("invert", "equalize", "grayscale"))
    drawn = sequences(Group(members=members, choose=2, shuffle=True, prob=0.5), 6000)
    counts = collections.Counter(tuple(step.operation for step in steps) for steps in drawn)
    skipped = counts.pop(())
    assert stats.binomtest(skipped, 6000, 0.5).pvalue > 0.001
    assert len(counts) == 6
    assert stats.chisquare(list(counts.values())).pvalue > 0.01


@pytest.mark.parametrize("policy", ["simclr", "randaugment(3,30)", "trivialaugment", "byol-2"])
@pytest.mark.parametrize("side", [1, 8, 224])
def test_every_number_drawn_lies_within_its_operations_range(policy: str, side: int) -> None:
    """Guards against plans that no executor promises to follow."""
    for step in (step for steps in sequences(policy, 300, side) for step in steps):
        known = operations[step.operation]
        assert len(step.values) == int(known.has_value)
        assert all(known.low <= value <= known.high for value in step.values), step


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Draw(operation="rotat"), "unknown operation 'rotat'.*'rotate'.*--views.policies"),
        (lambda: Draw(operation="rotate", low=-400, high=0), r"\[-400, 0\].*rotate.*\[-360, 360\]"),
        (lambda: Draw(operation="brightness", low=2, high=1), r"\[2, 1\] of brightness"),
        (lambda: Draw(operation="hue", low=0, high=math.nan), "hue"),
        (lambda: Draw(operation="invert", low=0, high=1), "invert takes no number"),
        (lambda: Draw(operation="invert", prob=1.2), "probability of invert is 1.2"),
        (lambda: Group(members=(), prob=-0.1), "probability of group is -0.1"),
        (lambda: Group(members=(), choose=1), "choose is 1, but the group has 0"),
    ],
)
def test_policy_that_cannot_be_is_refused_in_one_line(make: Any, message: str) -> None:
    """Guards the messages: what is wrong, the value, what is accepted."""
    with pytest.raises(ConfigError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_scaled_steps_go_towards_no_change() -> None:
    """Guards the direction of every operation: at strength 0 no change is left, at 1 all of it."""
    steps = (
        Step("brightness", (1.8,)),
        Step("posterize", (2.0,)),
        Step("solarize", (56.0,)),
        Step("cutout", (0.4, 0.3, 0.7)),
        Step("invert", ()),
    )

    def at(strength: float, index: int = 0) -> tuple[Step, ...]:
        stream = Stream(0, epoch=0, index=index, number=0)
        return scale_strength(steps, strength, stream)

    assert at(1.0) == steps
    half = at(0.5)
    assert half[:4] == (
        Step("brightness", (1.4,)),
        Step("posterize", (5.0,)),
        Step("solarize", (156.0,)),
        Step("cutout", (0.2, 0.3, 0.7)),
    )
    kept = sum(len(at(0.3, index)) == 5 for index in range(500))
    assert stats.binomtest(kept, 500, 0.3).pvalue > 0.001
    assert [step.values[0] for step in at(0.0)] == [1.0, 8.0, 256.0, 0.0]


@pytest.mark.parametrize(
    "policy",
    ["randaugment(2,9)", "autoaugment(svhn)", "fast-autoaugment(imagenet)", "trivialaugment"],
)
@pytest.mark.parametrize("side", [32, 224])
def test_translations_move_by_whole_pixels_and_not_by_fractions_of_one(
    policy: str, side: int
) -> None:
    """Guards a known bug of other libraries: a fraction of the side taken for a number of pixels."""
    found = values_by_operation(sequences(policy, 3000, side))
    shifts = [abs(value) * side for value in found["translate_x"] + found["translate_y"]]
    assert len(shifts) > 100
    assert np.mean([shift < 1 for shift in shifts]) <= 0.2  # levels that are next to nothing
    assert 0.03 * side <= np.median(shifts) <= 0.5 * side


def test_step_has_the_numbers_that_its_operation_needs() -> None:
    """Guards plans: whole bits, a place for a cutout, and no value for an operation without one."""
    stream = Stream(0, epoch=0, index=0, number=0)
    assert make_step("invert", 3.0, stream) == Step("invert")
    assert make_step("posterize", 4.99, stream) == Step("posterize", (4.0,))
    side, x, y = make_step("cutout", 0.3, stream).values
    assert side == 0.3
    assert 0 <= x < 1
    assert 0 <= y < 1
    assert x != y
