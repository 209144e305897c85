"""Schedules against constants computed by hand."""

from __future__ import annotations

import pytest

from massrl.errors import ConfigError
from massrl.optim.schedules import Schedule, cosine_momentum, warmup_cosine


def test_warmup_cosine_has_the_values_computed_by_hand() -> None:
    """Guards against a shift by one step, and a cosine over the whole run including the warm-up."""
    values = [warmup_cosine(step, base=0.8, warmup_steps=4, total_steps=10) for step in range(11)]
    wanted = [0.2, 0.4, 0.6, 0.8, 0.8, 0.7464101615, 0.6, 0.4, 0.2, 0.0535898385, 0.0]
    assert values == pytest.approx(wanted, abs=1e-9)


def test_warmup_cosine_of_warm_up_only_ends_at_zero() -> None:
    """Guards a run as short as its warm-up against 0/0 at the last step."""
    values = [warmup_cosine(step, base=1.0, warmup_steps=2, total_steps=2) for step in range(3)]
    assert values == [0.5, 1.0, 0.0]


def test_cosine_momentum_has_the_values_computed_by_hand() -> None:
    """Guards against a rise that starts late, is linear, or ends below 1."""
    values = [cosine_momentum(step, base=0.99, total_steps=4) for step in range(5)]
    wanted = [0.99, 0.9914644661, 0.995, 0.9985355339, 1.0]
    assert values == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(
    ("step", "warmup", "total", "flag"),
    [
        (0, 5, 4, "--optim.warmup_epochs"),
        (0, -1, 4, "--optim.warmup_epochs"),
        (0, 0, 0, "--train.epochs"),
        (5, 0, 4, "--train.epochs"),
        (-1, 0, 4, "--train.epochs"),
    ],
)
def test_warmup_cosine_with_bad_counts_names_the_flag(
    step: int, warmup: int, total: int, flag: str
) -> None:
    """Guards against a silent constant rate, and a cosine that rises again after its end."""
    with pytest.raises(ConfigError, match=flag):
        warmup_cosine(step, base=1.0, warmup_steps=warmup, total_steps=total)


@pytest.mark.parametrize(
    ("step", "base", "total", "flag"),
    [
        (0, 0.9, 0, "--train.epochs"),
        (3, 0.9, 2, "--train.epochs"),
        (0, 1.1, 2, "--method.target_momentum"),
    ],
)
def test_cosine_momentum_with_bad_numbers_names_the_flag(
    step: int, base: float, total: int, flag: str
) -> None:
    """Guards against a target that moves away from the online network."""
    with pytest.raises(ConfigError, match=flag):
        cosine_momentum(step, base=base, total_steps=total)


def test_schedule_combines_warm_up_cosine_and_momentum() -> None:
    """Guards the two schedules of a run against each other's numbers."""
    schedule = Schedule(peak_lr=1.0, warmup_steps=2, total_steps=10, target_momentum=0.9)
    assert schedule.lr(0) == pytest.approx(0.5)
    assert schedule.lr(6) == pytest.approx(0.5)
    assert schedule.tau(0) == pytest.approx(0.9)
    assert schedule.tau(5) == pytest.approx(0.95)
    assert schedule.tau(10) == pytest.approx(1.0)
