"""Write checkpoints while a run goes on."""

from __future__ import annotations

import time
from pathlib import Path

import lightning

from massrl.train.callbacks.base import Clock, StepCallback
from massrl.train.callbacks.metrics import MetricsCallback
from massrl.train.checkpoint import save_checkpoint
from massrl.train.module import PretrainingModule

_SECONDS_BETWEEN_CHECKPOINTS = 300.0


class Checkpoints(StepCallback):
    """Saves the run every few steps, or every five minutes, and at its end.

    Args:
        path: the checkpoint.
        every: steps between two saves; ``None`` for five minutes.
        clock: knows the seconds so far.
        record: is brought to the disk first, so that no row is missing before the checkpoint.
    """

    def __init__(
        self, path: Path, *, every: int | None, clock: Clock, record: MetricsCallback
    ) -> None:
        self._path = path
        self._every = every
        self._clock = clock
        self._record = record
        self._saved_at = time.monotonic()
        self._saved_step = -1

    def after_step(self, trainer: lightning.Trainer, module: PretrainingModule) -> None:
        """Save, if it is time."""
        if self._every is not None:
            due = module.step % self._every == 0
        else:
            due = time.monotonic() - self._saved_at >= _SECONDS_BETWEEN_CHECKPOINTS
        if due or module.step == module.schedule.total_steps:
            self.save(module)

    def save(self, module: PretrainingModule) -> None:
        """Save now, unless this step is saved already."""
        if self._saved_step != module.step:
            module.check_finite()
            seconds = self._clock.now
            with self._clock.paused():
                self._record.flush()
                save_checkpoint(self._path, {**module.checkpoint(), "seconds": seconds})
            self._saved_step = module.step
        self._saved_at = time.monotonic()
