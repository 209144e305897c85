"""Schedules: pure functions of the optimiser step, independent of devices and accumulation."""

from __future__ import annotations

import math
from dataclasses import dataclass

from massrl.errors import ConfigError


def warmup_cosine(step: int, *, base: float, warmup_steps: int, total_steps: int) -> float:
    """Return the value of a linear warm-up to ``base`` followed by a cosine decay to 0.

    ``base · (step + 1) / warmup_steps`` for ``step < warmup_steps``, and after it
    ``base · (1 + cos(π · progress)) / 2`` with
    ``progress = (step - warmup_steps) / (total_steps - warmup_steps)``.

    DeepMind's warm-up is ``base · step / warmup_steps``, whose step 0 has no effect; ours is one step
    ahead, so that no batch is computed for a rate of 0.

    Args:
        step: number of optimiser steps made before, 0 … ``total_steps``.
        base: value at the end of the warm-up.
        warmup_steps: number of warm-up steps, 0 for none.
        total_steps: number of optimiser steps of the whole run.

    Raises:
        ConfigError: if a count is out of range.

    Source: deepmind-research, byol/utils/schedules.py (``learning_schedule``).

    Example:
        >>> [warmup_cosine(step, base=1.0, warmup_steps=2, total_steps=4) for step in range(4)]
        [0.5, 1.0, 1.0, 0.5]
    """
    _check_step(step, total_steps)
    if not 0 <= warmup_steps <= total_steps:
        raise ConfigError(
            f"warm-up lasts {warmup_steps} steps, but 0 to {total_steps}, the steps of the run, "
            "are accepted (--optim.warmup_epochs)"
        )
    if step == total_steps:
        return 0.0
    if step < warmup_steps:
        return base * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return base * (1 + math.cos(math.pi * progress)) / 2


def cosine_momentum(step: int, *, base: float, total_steps: int) -> float:
    """Return the target network's momentum τ, which rises from ``base`` to 1 along a cosine.

    ``1 - (1 - base) · (cos(π · step / total_steps) + 1) / 2``.

    Args:
        step: number of optimiser steps made before, 0 … ``total_steps``.
        base: momentum at step 0, in [0, 1].
        total_steps: number of optimiser steps of the whole run.

    Raises:
        ConfigError: if a number is out of range.

    Source: BYOL, arXiv 2006.07733, section 3.3.

    Example:
        >>> [cosine_momentum(step, base=0.5, total_steps=2) for step in range(3)]
        [0.5, 0.75, 1.0]
    """
    _check_step(step, total_steps)
    if not 0 <= base <= 1:
        raise ConfigError(
            f"momentum of the target is {base:g}, but 0 to 1 is accepted (--method.target_momentum)"
        )
    return 1 - (1 - base) * (math.cos(math.pi * step / total_steps) + 1) / 2


def _check_step(step: int, total_steps: int) -> None:
    if total_steps < 1:
        raise ConfigError(
            f"the run has {total_steps} optimiser steps, but 1 or more is wanted "
            "(--train.epochs, --train.max_steps)"
        )
    if not 0 <= step <= total_steps:
        raise ConfigError(
            f"optimiser step {step} is outside the run, which has {total_steps} "
            "(--train.epochs, --train.max_steps)"
        )


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Learning rate and target momentum as pure functions of the optimiser step.

    Attributes:
        peak_lr: learning rate after warm-up, already scaled by the batch size.
        warmup_steps: steps of linear warm-up.
        total_steps: steps of the whole run.
        target_momentum: τ at step 0.
    """

    peak_lr: float
    warmup_steps: int
    total_steps: int
    target_momentum: float

    def lr(self, step: int) -> float:
        """Return the learning rate of this step's update."""
        return warmup_cosine(
            step, base=self.peak_lr, warmup_steps=self.warmup_steps, total_steps=self.total_steps
        )

    def tau(self, step: int) -> float:
        """Return the momentum of the target update after this step."""
        return cosine_momentum(step, base=self.target_momentum, total_steps=self.total_steps)
