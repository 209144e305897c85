"""SimCLR's and BYOL's colour pipelines: probabilities, ranges and order."""

from __future__ import annotations

import collections

import pytest
from scipy import stats
from tests.views.policies.conftest import sequences, values_by_operation

from massrl.errors import ConfigError
from massrl.views.policies.base import Group
from massrl.views.policies.colour import byol_1, byol_2, jitter, simclr, weak

PIPELINES = [
    ("simclr", 1.0, 0.0, 0.2),
    ("byol-1", 1.0, 0.0, 0.2),
    ("byol-2", 0.1, 0.2, 0.2),
    ("simclr(blur_prob=0.5,solarize_prob=0.3,grayscale_prob=0.4)", 0.5, 0.3, 0.4),
]


@pytest.mark.parametrize(("name", "blur", "solarize", "grey"), PIPELINES)
def test_colour_pipeline_applies_its_parts_with_their_probabilities(
    name: str, blur: float, solarize: float, grey: float
) -> None:
    """Guards BYOL's asymmetry and MASSRL's pipeline: blur 1.0 / 0.1, solarise 0 / 0.2, grey 0.2."""
    count = 4000
    drawn = sequences(name, count)
    found = values_by_operation(drawn)
    wanted = {"gaussian_blur": blur, "solarize": solarize, "grayscale": grey}
    wanted |= dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.8)
    for operation, prob in wanted.items():
        seen = len(found.get(operation, []))
        assert stats.binomtest(seen, count, prob).pvalue > 0.001, operation
    jittered = [len({"brightness", "hue"} & {s.operation for s in steps}) for steps in drawn]
    assert set(jittered) == {0, 2}  # the four come together or not at all


def test_colour_pipeline_draws_its_numbers_uniformly_from_their_ranges() -> None:
    """Guards jitter 0.4 / 0.4 / 0.2 / 0.1 and σ 0.1 to 2."""
    found = values_by_operation(sequences("byol-2", 4000) + sequences("simclr", 4000))
    ranges = {
        "brightness": (0.6, 1.4),
        "contrast": (0.6, 1.4),
        "saturation": (0.8, 1.2),
        "hue": (-0.1, 0.1),
        "gaussian_blur": (0.1, 2.0),
    }
    for name, (low, high) in ranges.items():
        assert stats.kstest(found[name], stats.uniform(low, high - low).cdf).pvalue > 0.001, name
    assert set(found["solarize"]) == {128.0}


def test_colour_pipeline_jitters_in_every_order_and_then_greys_blurs_and_solarizes() -> None:
    """Guards the random order of the four, as torchvision's ColorJitter, and the fixed rest."""
    four = {"brightness", "contrast", "saturation", "hue"}
    tail = ["grayscale", "gaussian_blur", "solarize"]
    orders: collections.Counter[tuple[str, ...]] = collections.Counter()
    for steps in sequences("byol-2", 5000):
        names = [step.operation for step in steps]
        jittered = tuple(name for name in names if name in four)
        assert names[len(jittered) :] == [name for name in tail if name in names]
        orders[jittered] += bool(jittered)
    counts = [count for order, count in orders.items() if order]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 0.01


def test_weak_draws_nothing() -> None:
    """Guards the weak view of directional methods: crop and flip alone."""
    assert set(sequences("weak", 50)) == {()}


def test_jitter_of_zero_strength_draws_no_such_operation() -> None:
    """Guards against a step that does nothing and costs time."""
    assert jitter(0.0, 0.0, 0.0, 0.0) == ()
    assert [draw.operation for draw in jitter(0.0, 0.5, 0.0, 0.1)] == ["contrast", "hue"]


def test_jitter_beyond_one_never_has_a_negative_factor() -> None:
    """Guards against a brightness below 0: every such view would be black."""
    (brightness,) = jitter(1.5, 0.0, 0.0, 0.0)
    assert (brightness.low, brightness.high) == (0.0, 2.5)


def test_byol_and_weak_are_settings_of_one_pipeline() -> None:
    """Guards BYOL's asymmetry against a change of SimCLR's defaults."""
    assert byol_1() == simclr(1.0, 0.2, 1.0, 0.0)
    assert byol_2() == simclr(1.0, 0.2, 0.1, 0.2)
    assert weak() == Group(members=())


@pytest.mark.parametrize("strength", [-1.0, float("nan")])
def test_negative_strength_is_refused(strength: float) -> None:
    """Guards the message: the value, what is accepted, the flag."""
    with pytest.raises(ConfigError, match=r"strength is .*0 or more.*--views.policies"):
        simclr(strength=strength)
