"""Stochastic gradient descent, as every evaluation protocol that trains uses it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from massrl.errors import TrainingError

_MOMENTUM = 0.9

Progress = Callable[[str, int, int], None]
Parameters = Iterable[nn.Parameter] | Iterable[dict[str, object]]


@dataclass(frozen=True, kw_only=True)
class SgdSchedule:
    """Learning rate and weight decay of a training.

    Attributes:
        lr: peak learning rate of parameters that have none of their own.
        factor: fraction of the peak learning rate at each step, counted from 0.
        total_steps: number of steps.
        nesterov: whether the momentum, of 0.9, is Nesterov's.
        weight_decay: of all parameters.
    """

    lr: float
    factor: Callable[[int], float]
    total_steps: int
    nesterov: bool = False
    weight_decay: float = 0.0


def train_sgd(
    parameters: Parameters,
    losses: Iterable[Tensor],
    schedule: SgdSchedule,
    *,
    name: str,
    flag: str,
    progress: Progress,
) -> None:
    """Take one optimiser step per loss.

    Args:
        parameters: parameters, or parameter groups with learning rates of their own.
        losses: computed one at a time, each with the weights that the previous step has left.
        schedule: learning rate and weight decay.
        name: of the training, for progress and errors.
        flag: what sets the learning rate, for errors.
        progress: called with the name, steps done and steps in all.

    Raises:
        TrainingError: if a loss is not finite.
    """
    optimizer = torch.optim.SGD(
        parameters,
        lr=schedule.lr,
        momentum=_MOMENTUM,
        nesterov=schedule.nesterov,
        weight_decay=schedule.weight_decay,
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule.factor)
    for step, loss in enumerate(losses):
        if not math.isfinite(float(loss.detach())):
            raise TrainingError(
                f"{name}: the loss is not finite at step {step}: a lower {flag} is wanted"
            )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        scheduler.step()
        progress(name, step + 1, schedule.total_steps)


def cosine(total_steps: int) -> Callable[[int], float]:
    """Return the factor of each step that falls from 1 to 0 along half a cosine."""
    return lambda step: (1 + math.cos(math.pi * min(step / max(1, total_steps), 1.0))) / 2
