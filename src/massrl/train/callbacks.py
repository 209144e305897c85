"""What watches a run: the record, the checkpoints, the signals to stop, and the run's health."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
import torch
from torch import Tensor

from massrl.atomic import write_json
from massrl.checkpoint import save_checkpoint
from massrl.errors import TrainingError
from massrl.evaluation.health import effective_rank, feature_deviation
from massrl.train.module import PretrainingModule
from massrl.train.record import MetricsFile

logger = logging.getLogger("massrl")

_SECONDS_BETWEEN_CHECKPOINTS = 300.0
_NEWEST_SHARE = 0.05  # of the last step in a smoothed speed
_STEPS_BETWEEN_HEALTH = 25
_MATRIX_DECAY = 0.98  # the loss matrix is a mean over about the last fifty steps
COLLAPSED_DEVIATION = 0.1


class StepWatcher(lightning.Callback):
    """Calls ``after_step`` once for every optimiser step, however many batches make one."""

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Lightning's hook."""
        module = pl_module
        assert isinstance(module, PretrainingModule)
        if (batch_idx + 1) % module.config.train.accumulate == 0:
            self.after_step(trainer, module)

    def after_step(self, trainer: lightning.Trainer, module: PretrainingModule) -> None:
        """What to do when ``module.step`` steps have been made."""

    def close(self) -> None:
        """What to give back when training ends, well or not."""

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Lightning's hook for a good end.

        It is earlier than ``teardown``, by which Lightning's own signal handlers are gone: giving
        the signals back then would bring them to life again.
        """
        self.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Lightning's hook for any other."""
        self.close()


class Clock(lightning.Callback):
    """Measures what steps cost, and how much of that was waiting for data.

    Probes and checkpoints are no part of a step: whoever makes one pauses the clock.

    Attributes:
        seconds: seconds spent on whole steps, those of earlier sittings of the run included.
        images_per_second: of the last steps, smoothed; ``None`` before the first has ended.
        data_wait: share of the last steps' time spent waiting for a batch, smoothed.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.images_per_second: float | None = None
        self._num_batches = 0
        self.data_wait = 0.0
        self._last = time.perf_counter()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what is done meanwhile."""
        begin = time.perf_counter()
        yield
        self._last += time.perf_counter() - begin

    @property
    def now(self) -> float:
        """``seconds``, with those of the step under way."""
        return self.seconds + time.perf_counter() - self._last

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the clock."""
        self._last = time.perf_counter()

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """The batch is there: what has passed since the last one ended was waiting."""
        self._waited = time.perf_counter() - self._last

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The batch is done."""
        now = time.perf_counter()
        whole = now - self._last
        self._num_batches += 1
        weight = max(_NEWEST_SHARE, 1 / self._num_batches)
        speed, before = len(batch.indices) / whole, self.images_per_second or 0.0
        self.images_per_second = before + weight * (speed - before)
        self.data_wait += weight * (self._waited / whole - self.data_wait)
        self.seconds += whole
        self._last = now


class Health(StepWatcher):
    """Watches the spread of the projections and the loss of every pair of views.

    Attributes:
        deviation: spread of the projections; 1 as if drawn at random, 0 when all are the same.
        feature_deviation: the same of the backbone's features, which are what is used later.
        effective_rank: how many dimensions they use.
        matrix: ``(N, N)``, mean loss of view i against view j over the last steps.
    """

    def __init__(self, view_names: list[str], path: Path) -> None:
        self.deviation: float | None = None
        self.feature_deviation: float | None = None
        self.effective_rank: float | None = None
        self.matrix: Tensor | None = None
        self._names = view_names
        self._path = path
        self._warned = False

    def after_step(self, trainer: lightning.Trainer, module: PretrainingModule) -> None:
        """Take the last batch's losses into the matrix; now and then, measure the projections."""
        output = module.output
        assert output is not None
        matrix = output.matrix.float().cpu()
        self.matrix = (
            matrix if self.matrix is None else torch.lerp(matrix, self.matrix, _MATRIX_DECAY)
        )
        self.deviation = self.feature_deviation = self.effective_rank = None
        last = module.step == module.schedule.total_steps
        if module.step % _STEPS_BETWEEN_HEALTH == 0 or last:
            projections = output.projections.float().cpu()
            self.deviation = feature_deviation(projections)
            self.feature_deviation = feature_deviation(output.features.float().cpu())
            self.effective_rank = effective_rank(projections[:1024])
            if self.deviation < COLLAPSED_DEVIATION and not self._warned:
                self._warned = True
                logger.warning(
                    "the representation is collapsing: at step %d the projections of different images "
                    "are nearly the same (deviation %.3f of 1, effective rank %.1f). Try a lower "
                    "--optim.lr, a higher --method.target_momentum, a larger --data.batch_size, "
                    "or --method.objective simclr",
                    module.step,
                    self.deviation,
                    self.effective_rank,
                )

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the matrix into the run folder."""
        if self.matrix is not None:
            used = pl_module.method.mask.cpu()
            rows = [
                [round(float(loss), 5) if use else None for loss, use in zip(*row, strict=True)]
                for row in zip(self.matrix, used, strict=True)
            ]
            content = {"step": pl_module.step, "views": self._names, "loss": rows}
            write_json(self._path, content)


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
    """Writes ``metrics.csv``."""

    def __init__(self, path: Path, *, clock: Clock, health: Health, probe: Probe | None) -> None:
        self._path = path
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
        self._file.row(
            {
                "step": step,
                "epoch": module.step / per_epoch,
                "loss": module.step_loss,
                "lr": trainer.optimizers[0].param_groups[0]["lr"],
                "tau": module.schedule.tau(step) if config.method.objective == "byol" else None,
                "images_per_second": speed,
                "views_per_second": None if speed is None else speed * len(output.matrix),
                "data_wait": self._clock.data_wait,
                "deviation": self._health.deviation,
                "feature_deviation": self._health.feature_deviation,
                "effective_rank": self._health.effective_rank,
                "knn": self._probe.accuracy if self._probe and probed else None,
                "skipped": len(module.skipped),
                "seconds": self._clock.now,
            }
        )

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


class Signals(StepWatcher):
    """Ctrl-C and SIGTERM: finish the step, save, stop. A second Ctrl-C stops at once.

    Attributes:
        received: name of the signal that stopped the run, ``None`` if none did.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.received: str | None = None
        self._checkpoints = checkpoints
        self._before: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Listen, where the process's main thread is ours to listen in."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise TrainingError("stopped at once by a second Ctrl-C; the last checkpoint is kept")
        self.received = signal.Signals(number).name
        logger.info("%s: finishing this step and saving; Ctrl-C again stops at once", self.received)

    def after_step(self, trainer: lightning.Trainer, module: PretrainingModule) -> None:
        """Save and stop, if a signal has come."""
        if self.received is not None:
            self._checkpoints.save(module)
            trainer.should_stop = True

    def close(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
