"""What keeps a run: its record, its checkpoints, the signals that stop it, and its k-NN probe."""

from __future__ import annotations

import logging
from collections.abc import Callable

import lightning
import torch

from massrl.train.callbacks.base import Clock, StepCallback
from massrl.train.module import PretrainingModule

logger = logging.getLogger("massrl")


class Probe(StepCallback):
    """Judges the backbone by k-NN every few steps.

    Attributes:
        accuracy: k-NN accuracy of the last probe, percent; ``None`` before the first.
        fresh: whether the probe was made after this very step.
    """

    def __init__(
        self, measure: Callable[[torch.nn.Module], float], *, every: int, clock: Clock
    ) -> None:
        self.accuracy: float | None = None
        self.fresh = False
        self._clock = clock
        self._measure = measure
        self._every = every

    def after_step(self, trainer: lightning.Trainer, module: PretrainingModule) -> None:
        """Probe, if it is time."""
        self.fresh = module.step % self._every == 0 or module.step == module.schedule.total_steps
        if self.fresh:
            with self._clock.paused():
                self.accuracy = self._measure(module.method.backbone)
            logger.info("step %d: k-NN %.1f %%", module.step, self.accuracy)
