"""RandAugment and TrivialAugment against torchvision's spaces, and the frequencies of their draws."""

from __future__ import annotations

import collections
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats
from tests.views.policies.conftest import FACTORS, GEOMETRIC, SIDE, sequences, values_by_operation
from torchvision import transforms

from massrl.errors import ConfigError
from massrl.randomness import Stream
from massrl.views.operations.base import operations
from massrl.views.policies.base import MagnitudePolicy
from massrl.views.policies.randaugment import SPACE, RandAugment, TrivialAugment, step_at_strength
from massrl.views.policies.tables import NAMES


def theirs(space: dict[str, Any], bins: list[int], side: int = SIDE) -> dict[str, set[float]]:
    """Torchvision's augmentation space as the values that our steps carry.

    torchvision applies a brightness of magnitude m as factor 1 + m and a translation in pixels; our
    numbers are the factor itself, and a fraction of the side.
    """
    found = {}
    for name, (magnitudes, signed) in space.items():
        ours = NAMES[name]
        values = [float(magnitudes[i]) for i in bins] if magnitudes.ndim else [math.nan]
        if ours.startswith("translate"):
            values = [value / side for value in values]
        centre = 1.0 if ours in FACTORS else 0.0
        signs = (1, -1) if signed else (1,)
        found[ours] = {round(centre + sign * value, 5) for value in values for sign in signs}
    return found


def assert_values(ours: dict[str, list[float]], wanted: dict[str, set[float]]) -> None:
    assert set(ours) == set(wanted)
    for name, values in ours.items():
        if operations[name].has_value:
            assert {round(value, 5) + 0.0 for value in values} == {v + 0.0 for v in wanted[name]}, (
                name
            )
        else:
            assert np.isnan(values).all()


@pytest.mark.parametrize(("n", "m"), [(2, 9), (1, 5), (3, 13), (2, 0), (1, 20), (2, 30)])
def test_randaugment_draws_torchvisions_operations_at_torchvisions_values(n: int, m: int) -> None:
    """Guards every number of the space: a sign, a scale, a rounding of the bits to keep."""
    drawn = sequences(f"randaugment({n},{m})", 1500)
    assert {len(steps) for steps in drawn} == {n}
    space = transforms.RandAugment(n, m)._augmentation_space(31, (SIDE, SIDE))
    assert_values(values_by_operation(drawn), theirs(space, [m]))


def test_randaugment_draws_each_operation_equally_often_and_each_sign_too() -> None:
    """Guards the frequencies: an operation listed twice, or signs that are always positive."""
    found = values_by_operation(sequences("randaugment(2,9)", 4000))
    assert len(found) == 14
    assert stats.chisquare([len(values) for values in found.values()]).pvalue > 0.01
    for name in GEOMETRIC | FACTORS:
        centre = 1.0 if name in FACTORS else 0.0
        up = sum(value > centre for value in found[name])
        assert stats.binomtest(up, len(found[name])).pvalue > 0.001, name


def test_randaugment_draws_its_operations_independently_with_replacement() -> None:
    """Guards against a draw without replacement: torchvision's may take one operation twice."""
    drawn = sequences("randaugment(2,9)", 4000)
    same = sum(first.operation == second.operation for first, second in drawn)
    assert stats.binomtest(same, len(drawn), 1 / 14).pvalue > 0.001


def test_randaugment_expanded_adds_six_operations_and_has_no_invert() -> None:
    """Guards the released code's expansion: brightness, contrast, saturation, hue, blur, grey."""
    found = values_by_operation(sequences("randaugment-expanded(2,9)", 5000))
    plain = set(values_by_operation(sequences("randaugment(2,9)", 500)))
    assert set(found) == plain | {"hue", "gaussian_blur", "grayscale"}
    assert "invert" not in found
    shares = {name: len(values) / 10_000 for name, values in found.items()}
    for name, share in shares.items():
        twice = name in ("brightness", "contrast", "saturation")
        assert share == pytest.approx((2 if twice else 1) / 20, abs=0.01), name
    assert -0.1 <= min(found["hue"]) < -0.09
    assert 0.09 < max(found["hue"]) < 0.1
    assert 0.1 <= min(found["gaussian_blur"]) < 0.2
    assert 1.9 < max(found["gaussian_blur"]) < 2.0


@pytest.mark.parametrize("side", [224, 96])
def test_trivialaugment_draws_torchvisions_operations_at_torchvisions_values(side: int) -> None:
    """Guards the wide space: its translation is in pixels, its posterize down to two bits."""
    drawn = sequences("trivialaugment", 16_000, side)
    assert {len(steps) for steps in drawn} == {1}
    space = transforms.TrivialAugmentWide()._augmentation_space(31)
    found = values_by_operation(drawn)
    assert_values(found, theirs(space, list(range(31)), side))
    assert stats.chisquare([len(values) for values in found.values()]).pvalue > 0.01
    bits = collections.Counter(found["posterize"])
    bins = collections.Counter((8 - round(i / 5)) for i in range(31))
    expected = [len(found["posterize"]) * bins[b] / 31 for b in sorted(bins)]
    assert stats.chisquare([bits[float(b)] for b in sorted(bins)], expected).pvalue > 0.01


def test_trivialaugment_on_a_tiny_view_keeps_its_shift_within_the_side() -> None:
    """Guards against a plan with a value outside the operation's range: 32 px on 8."""
    found = values_by_operation(sequences("trivialaugment", 3000, 8))
    assert max(map(abs, found["translate_x"] + found["translate_y"])) == 1.0


def test_trivialaugment_takes_its_strength_apart_from_its_operation() -> None:
    """Guards against one number for both draws: each operation would have one strength only."""
    found = values_by_operation(sequences(TrivialAugment(), 3000))
    assert all(len(set(found[name])) > 25 for name in GEOMETRIC | FACTORS)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_operations": 0}, "n is 0, but 1 or more.*--views.policies"),
        ({"magnitude": 31}, "m is 31, but 0 to 30.*--views.policies"),
        ({"magnitude": -1}, "m is -1, but 0 to 30.*--views.policies"),
    ],
)
def test_randaugment_out_of_range_is_refused_in_one_line(
    fields: dict[str, int], message: str
) -> None:
    """Guards the messages: what is wrong, the value, what is accepted."""
    with pytest.raises(ConfigError, match=message) as caught:
        RandAugment(**fields)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_randaugment_at_every_magnitude_differs_in_nothing_else() -> None:
    """Guards charts: they show the user's own number of operations, from weak to strong."""
    policy = RandAugment(num_operations=3, magnitude=4, expanded=True)
    assert isinstance(policy, MagnitudePolicy)
    assert not isinstance(TrivialAugment(), MagnitudePolicy)
    every = policy.at_every_magnitude()
    assert [item.magnitude for item in every] == list(range(31))
    assert every[4] == policy
    assert all(item.num_operations == 3 and item.expanded for item in every)


@pytest.mark.parametrize("name", list(SPACE))
def test_strength_goes_from_the_start_of_the_span_to_its_end(name: str) -> None:
    """Guards both ends: at none an operation starts, at full strength it is at its span's end."""
    span, has_value = SPACE[name], operations[name].has_value

    def at(strength: float, **full: float) -> set[tuple[float, ...]]:
        streams = [Stream(0, epoch=0, index=index, number=0) for index in range(20)]
        return {step_at_strength(name, strength, stream, **full).values for stream in streams}

    signs = (1, -1) if operations[name].signed else (1,)
    assert at(0.0) == {(span.start,) if has_value else ()}
    assert at(1.0) == {(span.start + sign * span.full,) if has_value else () for sign in signs}
    if has_value:
        assert at(0.5, full=2.0) == {(span.start + sign * 1.0,) for sign in signs}
