"""What keeps a run: its record, its checkpoints, the signals that stop it, and its k-NN probe."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
import torch

from massrl.checkpoint import save_checkpoint
from massrl.errors import TrainingError
from massrl.train.health import Health
from massrl.train.loggers import Loggers
from massrl.train.module import PretrainingModule
from massrl.train.record import MetricsFile
from massrl.train.watching import Clock, StepWatcher

logger = logging.getLogger("massrl")

_SECONDS_BETWEEN_CHECKPOINTS = 300.0


class Probe(StepWatcher):
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


class Record(StepWatcher):
    """Writes ``metrics.csv``, and tells the loggers the same."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        health: Health,
        probe: Probe | None,
        loggers: Loggers,
    ) -> None:
        self._path = path
        self._loggers = loggers
        self._clock = clock
        self._health = health
        self._probe = probe
        self._file: MetricsFile | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Open the file, cut at the step the run goes on from."""
        self._file = MetricsFile(self._path, step=pl_module.step)

    def after_step(self, trainer: lightning.Trainer, module: PretrainingModule) -> None:
        """Write the row of the step that was just made."""
        step = module.step - 1
        probed = self._probe is not None and self._probe.fresh
        last = module.step == module.schedule.total_steps
        measured = self._health.deviation is not None
        if step % module.config.train.log_every and not (probed or measured or last):
            return
        output, config = module.output, module.config
        assert output is not None
        assert self._file is not None
        per_epoch = trainer.train_dataloader.batch_sampler.steps_per_epoch  # type: ignore[union-attr]
        speed = self._clock.images_per_second
        row = {
            "step": step,
            "epoch": module.step / per_epoch,
            "loss": module.step_loss,
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "tau": module.schedule.tau(step) if config.method.objective == "byol" else None,
            "gradient_norm": module.gradient_norm,
            "images_per_second": speed,
            "views_per_second": None if speed is None else speed * len(output.matrix),
            "data_wait": self._clock.data_wait,
            "deviation": self._health.deviation,
            "feature_deviation": self._health.feature_deviation,
            "prediction_deviation": self._health.prediction_deviation,
            "effective_rank": self._health.effective_rank,
            "knn": self._probe.accuracy if self._probe and probed else None,
            "skipped": len(module.skipped),
            "seconds": self._clock.now,
        }
        self._file.row(row)
        self._loggers.row(row, step)

    def flush(self) -> None:
        """See that the rows so far are on the disk."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class Checkpoints(StepWatcher):
    """Saves the run every few steps, or every five minutes, and at its end.

    Args:
        path: the checkpoint.
        every: steps between two saves; ``None`` for five minutes.
        clock: knows the seconds so far.
        record: is brought to the disk first, so that no row is missing before the checkpoint.
    """

    def __init__(self, path: Path, *, every: int | None, clock: Clock, record: Record) -> None:
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


def stopping_signals() -> list[signal.Signals]:
    """Ctrl-C and SIGTERM; in a job of SLURM's also the one that comes before its time is up."""
    warned = [signal.SIGUSR1] if "SLURM_JOB_ID" in os.environ else []  # as --signal=SIGUSR1@90 asks
    return [signal.SIGINT, signal.SIGTERM, *warned]


class Signals(StepWatcher):
    """Signals to stop: finish the step, save, stop. A second Ctrl-C stops at once.

    Of several processes all stop after the same step, whichever of them was told to.

    Args:
        checkpoints: saves, in the process that leads.

    Attributes:
        received: name of the signal that stopped the run, ``None`` if none did.
    """

    def __init__(self, checkpoints: Checkpoints | None) -> None:
        self.received: str | None = None
        self._module: PretrainingModule | None = None
        self._checkpoints = checkpoints
        self._before: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Listen, where the process's main thread is ours to listen in."""
        self._module = pl_module
        if threading.current_thread() is threading.main_thread():
            for number in stopping_signals():
                self._before[number] = signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise TrainingError("stopped at once by a second Ctrl-C")
        self.received = signal.Signals(number).name
        assert self._module is not None
        self._module.stop_wanted = number
        logger.info("%s: finishing this step and saving; Ctrl-C again stops at once", self.received)

    def after_step(self, trainer: lightning.Trainer, module: PretrainingModule) -> None:
        """Save and stop, if a signal has come."""
        if module.stops:
            self.received = signal.Signals(module.stops).name
            if self._checkpoints is not None:
                self._checkpoints.save(module)
            trainer.should_stop = True

    def close(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
