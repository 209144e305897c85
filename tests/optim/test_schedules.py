"""Schedules against constants worked out by hand."""

from __future__ import annotations

import pytest

from massrl.errors import ConfigError
from massrl.optim.schedules import cosine_momentum, warmup_cosine


def test_warmup_cosine_takes_the_values_worked_out_by_hand() -> None:
    """A shift by one step, or a cosine over the whole run instead of what follows the warm-up."""
    values = [warmup_cosine(step, base=0.8, warmup_steps=4, total_steps=10) for step in range(11)]
    wanted = [0.2, 0.4, 0.6, 0.8, 0.8, 0.7464101615, 0.6, 0.4, 0.2, 0.0535898385, 0.0]
    assert values == pytest.approx(wanted, abs=1e-9)


def test_warmup_cosine_that_is_all_warm_up_divides_by_nothing() -> None:
    """A run shorter than its warm-up: 0/0 at the last step."""
    values = [warmup_cosine(step, base=1.0, warmup_steps=2, total_steps=2) for step in range(3)]
    assert values == [0.5, 1.0, 0.0]


def test_cosine_momentum_takes_the_values_worked_out_by_hand() -> None:
    """A rise that starts late, is linear, or ends short of 1."""
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
    """A silent fallback to a constant rate, or a cosine that rises again after its end."""
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
    """A target that runs away from the online network."""
    with pytest.raises(ConfigError, match=flag):
        cosine_momentum(step, base=base, total_steps=total)
