"""Save checkpoints during training."""

from __future__ import annotations

import time
from pathlib import Path

from massrl.train.callbacks.base import Clock, StepCallback
from massrl.train.callbacks.metrics import MetricsCallback
from massrl.train.checkpoint import save_checkpoint
from massrl.train.step import TrainingStep

_SECONDS_BETWEEN_CHECKPOINTS = 300.0


class Checkpoints(StepCallback):
    """Save a checkpoint every few steps or every five minutes, and after the last step of a session.

    Args:
        path: file of the checkpoint, which each save replaces.
        every: steps between two checkpoints; ``None`` for five minutes.
        clock: measures the seconds of the run; paused during a save.
        metrics: flushed first, so that no row before the checkpoint is missing.
    """

    def __init__(
        self, path: Path, *, every: int | None, clock: Clock, metrics: MetricsCallback
    ) -> None:
        self._path = path
        self._every = every
        self._clock = clock
        self._metrics = metrics
        self._saved_at = time.monotonic()
        self._saved_step = -1

    def after_step(self, step: TrainingStep) -> None:
        """Save a checkpoint if one is due."""
        if self._every is not None:
            due = step.step % self._every == 0
        else:
            due = time.monotonic() - self._saved_at >= _SECONDS_BETWEEN_CHECKPOINTS
        if due or step.is_last or step.stop_signal:
            self._save(step)

    def _save(self, step: TrainingStep) -> None:
        if self._saved_step != step.step:
            step.check_finite()
            seconds = self._clock.now
            with self._clock.paused():
                self._metrics.flush()
                save_checkpoint(self._path, {**step.state_dict(), "seconds": seconds})
            self._saved_step = step.step
        self._saved_at = time.monotonic()
