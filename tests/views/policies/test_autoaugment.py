"""AutoAugment and Fast AutoAugment: what they draw from their tables, with which frequencies."""

from __future__ import annotations

import collections
import math
from collections.abc import Iterator
from typing import Any

import pytest
from scipy import stats
from tests.views.policies.conftest import (
    DATASETS,
    FACTORS,
    SIDE,
    sequences,
    values_by_operation,
)
from torchvision import transforms
from torchvision.transforms.autoaugment import AutoAugmentPolicy

from massrl.errors import ConfigError
from massrl.views.operations.base import operations
from massrl.views.policies import autoaugment
from massrl.views.policies.autoaugment import AutoAugment, FastAutoAugment
from massrl.views.policies.tables import NAMES, policy_table


@pytest.mark.parametrize("dataset", DATASETS)
def test_autoaugment_draws_torchvisions_sequences_with_their_frequencies(dataset: str) -> None:
    """Guards choice, probability, bins of ten, and signs, on exact sequences of steps.

    The expected frequencies come from torchvision's table and space by enumeration.
    """
    policies = transforms.AutoAugment(AutoAugmentPolicy(dataset)).policies
    space = transforms.AutoAugment()._augmentation_space(10, (SIDE, SIDE))

    def outcomes(name: str, prob: float, bin_index: int | None) -> dict[tuple[Any, ...], float]:
        magnitudes, signed = space[name]
        ours = NAMES[name]
        applied: dict[tuple[Any, ...], float] = collections.defaultdict(float)
        if bin_index is None or not operations[ours].has_value:
            applied[((ours,),)] += prob
        else:
            size = float(magnitudes[bin_index]) / (SIDE if ours.startswith("translate") else 1)
            centre = 1.0 if ours in FACTORS else 0.0
            for sign in (1, -1) if signed else (1,):
                value = round(centre + sign * size, 4) + 0.0
                applied[((ours, value),)] += prob / (2 if signed else 1)
        applied[()] += 1 - prob
        return applied

    expected: dict[tuple[Any, ...], float] = collections.defaultdict(float)
    for first, second in policies:
        for one, p in outcomes(*first).items():
            for two, q in outcomes(*second).items():
                expected[one + two] += p * q / len(policies)
    count = 12_000
    seen = collections.Counter(
        tuple((s.operation, *(round(v, 4) + 0.0 for v in s.values)) for s in steps)
        for steps in sequences(AutoAugment(dataset=dataset), count)
    )
    assert all(expected[sequence] > 0 for sequence in seen)
    often = [key for key, prob in expected.items() if prob * count > 10]
    observed = [seen[key] for key in often]
    wanted = [expected[key] * count for key in often]
    if count - sum(wanted) > 1e-6:  # all rare sequences together
        observed, wanted = [*observed, count - sum(observed)], [*wanted, count - sum(wanted)]
    assert stats.chisquare(observed, wanted).pvalue > 0.01


@pytest.fixture
def one_pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Replace Fast AutoAugment's table by a single pair."""

    def install(*steps: tuple[str, float, float]) -> FastAutoAugment:
        ranges = policy_table("fast_autoaugment.json")["ranges"]
        table = {"ranges": ranges, "policies": {"imagenet": [list(steps)]}}
        monkeypatch.setattr(autoaugment, "policy_table", lambda file: table)
        autoaugment._fast_autoaugment_table.cache_clear()
        return FastAutoAugment(dataset="imagenet")

    yield install
    monkeypatch.undo()
    autoaugment._fast_autoaugment_table.cache_clear()


@pytest.mark.parametrize(
    ("name", "level", "value", "mirrored"),
    [
        ("ShearX", 0.75, 0.15, True),
        ("TranslateY", 0.5, 0.0, True),
        ("TranslateX", 0.0, -0.45, True),
        ("Rotate", 1.0, 30.0, True),
        ("Solarize", 0.25, 64.0, False),
        ("Posterize", 0.5, 6.0, False),
        ("Posterize", 0.9, 7.0, False),
        ("Contrast", 0.0, 0.1, False),
        ("Color", 1.0, 1.9, False),
        ("Brightness", 0.5, 1.0, False),
        ("Sharpness", 0.25, 0.55, False),
        ("Cutout", 0.5, 0.1, False),
    ],
)
def test_fast_autoaugment_value_is_linear_in_its_level_and_mirrored_if_geometric(
    one_pair: Any, name: str, level: float, value: float, mirrored: bool
) -> None:
    """Guards the ranges of the released code, worked out by hand, and which signs are random."""
    drawn = sequences(one_pair((name, 1.0, level), ("Invert", 0.0, 0.5)), 400)
    found = [round(steps[0].values[0], 6) for steps in drawn]
    wanted = {value, -value} if mirrored else {value}
    assert {v + 0.0 for v in found} == {round(v, 6) + 0.0 for v in wanted}
    if mirrored and value:
        assert stats.binomtest(found.count(value), 400).pvalue > 0.001


def test_fast_autoaugment_applies_each_operation_with_its_own_probability(one_pair: Any) -> None:
    """Guards against one coin for both operations, or a probability taken for a level."""
    drawn = sequences(one_pair(("Invert", 0.3, 0.9), ("Equalize", 0.8, 0.1)), 4000)
    names = [tuple(step.operation for step in steps) for steps in drawn]
    counts = collections.Counter(names)
    wanted = {
        ("invert", "equalize"): 0.24,
        ("invert",): 0.06,
        ("equalize",): 0.56,
        (): 0.14,
    }
    expected = [4000 * prob for prob in wanted.values()]
    assert stats.chisquare([counts[key] for key in wanted], expected).pvalue > 0.01


def test_fast_autoaugment_draws_every_pair_equally_often() -> None:
    """Guards the choice among the sub-policies, by the operations' expected shares in the table."""
    pairs = policy_table("fast_autoaugment.json")["policies"]["imagenet"]
    shares: dict[str, float] = collections.defaultdict(float)
    for name, prob, _ in (step for pair in pairs for step in pair):
        shares[NAMES[name]] += prob / len(pairs)
    count = 6000
    found = values_by_operation(sequences("fast-autoaugment(imagenet)", count))
    assert set(found) == {name for name, share in shares.items() if share > 0}
    for name, share in shares.items():
        assert len(found[name]) / count == pytest.approx(share, abs=5 * math.sqrt(share / count))


def test_fast_autoaugment_cutout_has_a_centre_of_its_own_each_time(one_pair: Any) -> None:
    """Guards against a square that always covers the same place."""
    drawn = sequences(one_pair(("Cutout", 1.0, 1.0), ("Invert", 0.0, 0.0)), 1000)
    for axis in (1, 2):
        assert stats.kstest([steps[0].values[axis] for steps in drawn], "uniform").pvalue > 0.01


@pytest.mark.parametrize("policy", [AutoAugment, FastAutoAugment])
def test_unknown_data_set_is_refused_with_a_suggestion(policy: Any) -> None:
    """Guards against a KeyError in a loader's worker."""
    with pytest.raises(ConfigError, match=r"'imagnet'.*'imagenet'.*--views.policies"):
        policy("imagnet")
