"""Stochastic gradient descent as every protocol of evaluation does it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from massrl.errors import TrainingError

_MOMENTUM = 0.9

Progress = Callable[[str, int, int], None]
Groups = Iterable[nn.Parameter] | Iterable[dict[str, object]]


def train_sgd(
    groups: Groups,
    losses: Iterable[Tensor],
    *,
    rate: float,
    shape: Callable[[int], float],
    total: int,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    name: str,
    flag: str,
    progress: Progress,
) -> None:
    """Take a step for every loss.

    Args:
        groups: parameters, or groups of them with rates of their own.
        losses: made one at a time, each with the weights that the step before has left.
        rate: peak learning rate, where a group has none of its own.
        shape: share of the peak rate at each step, from 0.
        total: how many losses there will be.
        nesterov: whether momentum, of 0.9, looks ahead.
        weight_decay: of all parameters.
        name: what progress calls it.
        flag: what sets the rate, for errors.
        progress: called with steps done and steps in all.

    Raises:
        TrainingError: if a loss is no number.
    """
    optimizer = torch.optim.SGD(
        groups, lr=rate, momentum=_MOMENTUM, nesterov=nesterov, weight_decay=weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, shape)
    for step, loss in enumerate(losses):
        if not math.isfinite(float(loss.detach())):
            raise TrainingError(
                f"{name}: the loss is no number at step {step}: a lower {flag} is wanted"
            )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        progress(name, step + 1, total)


def cosine(total: int) -> Callable[[int], float]:
    """From 1 to 0 along half a cosine."""
    return lambda step: (1 + math.cos(math.pi * min(step / max(1, total), 1.0))) / 2
