"""Write ``metrics.csv`` while a run goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning

from massrl.runs.metrics import MetricsFile
from massrl.train.callbacks.base import Clock, StepCallback
from massrl.train.callbacks.collapse import CollapseMonitor
from massrl.train.callbacks.probe import Probe
from massrl.train.loggers import Loggers
from massrl.train.module import PretrainingModule


class MetricsCallback(StepCallback):
    """Writes ``metrics.csv``, and tells the loggers the same."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        health: CollapseMonitor,
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
        measured = self._health.embedding_std is not None
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
            "tau": module.schedule.tau(step) if config.method.name == "byol" else None,
            "gradient_norm": module.gradient_norm,
            "images_per_second": speed,
            "views_per_second": None if speed is None else speed * len(output.matrix),
            "data_wait": self._clock.data_wait,
            "embedding_std": self._health.embedding_std,
            "feature_std": self._health.feature_std,
            "prediction_std": self._health.prediction_std,
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
