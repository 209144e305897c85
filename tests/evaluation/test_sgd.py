"""Stochastic gradient descent of the evaluation protocols."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from massrl.errors import TrainingError
from massrl.evaluation.sgd import SgdSchedule, cosine, train_sgd


def quadratic(weight: nn.Parameter, steps: int) -> Iterator[Tensor]:
    """Yield half the squared norm, whose gradient is the weight itself."""
    for _ in range(steps):
        yield 0.5 * (weight**2).sum()


@pytest.mark.parametrize("nesterov", [False, True])
def test_steps_are_those_of_sgd_by_hand(nesterov: bool) -> None:
    """Guards momentum, weight decay and the factor of each step, in plain numbers."""
    weight, seen = nn.Parameter(torch.tensor([2.0])), []
    schedule = SgdSchedule(
        lr=0.1,
        factor=lambda step: (1.0, 0.5, 0.25)[min(step, 2)],
        total_steps=3,
        nesterov=nesterov,
        weight_decay=0.01,
    )
    train_sgd(
        [weight],
        quadratic(weight, 3),
        schedule,
        name="x",
        flag="--lr",
        progress=lambda *done: seen.append(done),
    )
    value, speed = 2.0, 0.0
    for factor in (1.0, 0.5, 0.25):
        gradient = value + 0.01 * value
        speed = 0.9 * speed + gradient
        value -= 0.1 * factor * (gradient + 0.9 * speed if nesterov else speed)
    assert float(weight.detach()) == pytest.approx(value)
    assert seen == [("x", step, 3) for step in (1, 2, 3)]


def test_group_with_a_learning_rate_of_its_own_has_the_same_schedule() -> None:
    """Guards classifiers that are trained side by side, each at its own rate."""
    slow, fast = (nn.Parameter(torch.ones(1)) for _ in range(2))
    train_sgd(
        [{"params": [slow], "lr": 0.1}, {"params": [fast], "lr": 0.2}],
        ((slow + fast).sum() for _ in range(1)),
        SgdSchedule(lr=9.0, factor=lambda step: 0.5, total_steps=1),
        name="x",
        flag="--lr",
        progress=lambda *_: None,
    )
    assert (float(slow.detach()), float(fast.detach())) == pytest.approx((0.95, 0.9))


def test_loss_that_is_not_finite_is_refused_before_its_step() -> None:
    """Guards weights against NaN, and names what to change."""
    weight = nn.Parameter(torch.ones(1))
    losses = (weight.sum() * value for value in (1.0, float("nan")))
    schedule = SgdSchedule(lr=0.5, factor=lambda step: 1.0, total_steps=2)
    with pytest.raises(TrainingError, match="probe: the loss is not finite at step 1.*--x.lr"):
        train_sgd([weight], losses, schedule, name="probe", flag="--x.lr", progress=lambda *_: None)
    assert float(weight.detach()) == 0.5


def test_cosine_falls_from_one_to_zero() -> None:
    """Guards the schedule's ends and its middle, and a training without steps."""
    factor = cosine(100)
    assert [factor(step) for step in (0, 50, 100, 200)] == pytest.approx([1.0, 0.5, 0.0, 0.0])
    assert factor(25) == pytest.approx(0.5 + 0.5**1.5)
    assert cosine(0)(0) == 1.0
