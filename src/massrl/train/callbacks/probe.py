"""Measure k-NN accuracy during training."""

from __future__ import annotations

import logging
from collections.abc import Callable

from torch import nn

from massrl.train.callbacks.base import Clock, StepCallback
from massrl.train.step import TrainingStep

logger = logging.getLogger("massrl")


class Probe(StepCallback):
    """Evaluate the backbone by k-NN every few steps, and after the last step.

    Args:
        measure: returns the k-NN accuracy of a backbone in percent.
        every: steps between two probes.
        clock: paused during a probe.

    Attributes:
        accuracy: result of the last probe in percent; ``None`` before the first.
        fresh: whether the last step was probed.
    """

    def __init__(self, measure: Callable[[nn.Module], float], *, every: int, clock: Clock) -> None:
        self.accuracy: float | None = None
        self.fresh = False
        self._clock = clock
        self._measure = measure
        self._every = every

    def after_step(self, step: TrainingStep) -> None:
        """Probe if it is due."""
        self.fresh = step.step % self._every == 0 or step.is_last
        if self.fresh:
            with self._clock.paused():
                self.accuracy = self._measure(step.method.backbone)
            logger.info("step %d: k-NN %.1f %%", step.step, self.accuracy)
