"""The health of a run: whether its representation still tells images apart, and which views are hard."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from massrl.evaluation.collapse import effective_rank, embedding_std
from massrl.files import write_json
from massrl.train.callbacks.base import StepCallback
from massrl.train.module import PretrainingModule

logger = logging.getLogger("massrl")

_STEPS_BETWEEN_HEALTH = 25
_MATRIX_DECAY = 0.98  # the loss matrix is a mean over about the last fifty steps
COLLAPSED_DEVIATION = 0.1


class CollapseMonitor(StepCallback):
    """Watches the spread of the projections and the loss of every pair of views.

    Attributes:
        embedding_std: spread of the projections; 1 as if drawn at random, 0 when all are the same.
        feature_std: the same of the backbone's features, which are what is used later.
        prediction_std: the same of the predictions, of methods that predict.
        effective_rank: how many dimensions the projections use.
        matrix: ``(N, N)``, mean loss of view i against view j over the last steps.
    """

    def __init__(self, view_names: list[str], path: Path) -> None:
        self.embedding_std: float | None = None
        self.feature_std: float | None = None
        self.prediction_std: float | None = None
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
        self.embedding_std = self.feature_std = self.prediction_std = None
        self.effective_rank = None
        last = module.step == module.schedule.total_steps
        if module.step % _STEPS_BETWEEN_HEALTH == 0 or last:
            projections = output.projections.float().cpu()
            self.embedding_std = embedding_std(projections)
            self.feature_std = embedding_std(output.features.float().cpu())
            if output.predictions is not None:
                self.prediction_std = embedding_std(output.predictions.float().cpu())
            self.effective_rank = effective_rank(projections[:1024])
            if self.embedding_std < COLLAPSED_DEVIATION and not self._warned:
                self._warned = True
                logger.warning(
                    "the representation is collapsing: at step %d the projections of different images "
                    "are nearly the same (deviation %.3f of 1, effective rank %.1f). Try a lower "
                    "--optim.lr, a higher --method.target_momentum, a larger --data.batch_size, "
                    "or --method.name simclr",
                    module.step,
                    self.embedding_std,
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
