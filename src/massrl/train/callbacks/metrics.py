"""Write ``metrics.csv`` during training."""

from __future__ import annotations

from pathlib import Path

from massrl.runs.metrics import MetricsFile
from massrl.train.callbacks.base import Clock, StepCallback
from massrl.train.callbacks.collapse import CollapseMonitor
from massrl.train.callbacks.probe import Probe
from massrl.train.loggers import Loggers
from massrl.train.step import TrainingStep


class MetricsCallback(StepCallback):
    """Write rows to ``metrics.csv`` and to the loggers.

    Args:
        path: the CSV file.
        steps_per_epoch: optimiser steps of an epoch.
        clock: measures throughput and seconds.
        monitor: measures the spread of the embeddings.
        probe: measures k-NN accuracy; ``None`` without labels.
        loggers: receive the same rows.
    """

    def __init__(
        self,
        path: Path,
        *,
        steps_per_epoch: int,
        clock: Clock,
        monitor: CollapseMonitor,
        probe: Probe | None,
        loggers: Loggers,
    ) -> None:
        self._path = path
        self._loggers = loggers
        self._clock = clock
        self._monitor = monitor
        self._steps_per_epoch = steps_per_epoch
        self._probe = probe
        self._file: MetricsFile | None = None

    def on_start(self, step: TrainingStep) -> None:
        """Open the file, without rows of steps that the session makes again."""
        self._file = MetricsFile(self._path, step=step.step)

    def after_step(self, step: TrainingStep) -> None:
        """Write the row of this step, if one is due."""
        number, monitor, probe = step.step - 1, self._monitor, self._probe
        probed = probe is not None and probe.fresh
        due = number % step.config.train.log_every == 0
        if not (due or probed or monitor.embedding_std is not None or step.is_last):
            return
        assert self._file is not None
        speed = self._clock.images_per_second
        row = {
            "step": number,
            "epoch": step.step / self._steps_per_epoch,
            "loss": step.loss,
            "chance": step.chance,
            "lr": step.lr,
            "tau": step.schedule.tau(number) if step.method.has_target else None,
            "gradient_norm": step.gradient_norm,
            "images_per_second": speed,
            "views_per_second": None if speed is None else speed * step.method.num_views,
            "data_wait": self._clock.data_wait,
            "embedding_std": monitor.embedding_std,
            "feature_std": monitor.feature_std,
            "prediction_std": monitor.prediction_std,
            "effective_rank": monitor.effective_rank,
            "knn": probe.accuracy if probe is not None and probed else None,
            "skipped": len(step.skipped),
            "seconds": self._clock.now,
        }
        self._file.row(row)
        self._loggers.row(row, number)

    def flush(self) -> None:
        """Flush the rows to the disk."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
