"""Detect a collapsing representation, and average the loss matrix over steps."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor

from massrl.evaluation.collapse import effective_rank, embedding_std
from massrl.files import write_json
from massrl.runs.verdict import BAND, COLLAPSED_STD
from massrl.train.callbacks.base import StepCallback
from massrl.train.step import TrainingStep

logger = logging.getLogger("massrl")

_STEPS_BETWEEN = 25
_MATRIX_DECAY = 0.98  # of the loss matrix: a mean over about the last fifty steps


class CollapseMonitor(StepCallback):
    """Monitor the spread of the embeddings and the loss of every pair of views.

    Args:
        view_names: name of each view.
        path: the loss matrix is written to this JSON file.

    Attributes:
        embedding_std: spread of the projections, 1 for random ones and 0 for identical ones; like the
            next three ``None`` after a step that did not measure it.
        feature_std: spread of the backbone's features.
        prediction_std: spread of the predictions, of objectives with a predictor.
        effective_rank: effective number of dimensions of the projections.
        matrix: ``(N, N)``, loss of view i against view j, averaged over the last steps.
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

    def after_step(self, step: TrainingStep) -> None:
        """Add the last batch to the loss matrix; every 25 steps, measure the embeddings."""
        output = step.output
        assert output is not None
        matrix = output.matrix.float().cpu()
        self.matrix = (
            matrix if self.matrix is None else torch.lerp(matrix, self.matrix, _MATRIX_DECAY)
        )
        self.embedding_std = self.feature_std = self.prediction_std = None
        self.effective_rank = None
        if step.step % _STEPS_BETWEEN == 0 or step.is_last:
            projections = output.projections.float().cpu()
            self.embedding_std = embedding_std(projections)
            self.feature_std = embedding_std(output.features.float().cpu())
            if output.predictions is not None:
                self.prediction_std = embedding_std(output.predictions.float().cpu())
            self.effective_rank = effective_rank(projections[:1024])
            if self.embedding_std < COLLAPSED_STD and not self._warned:
                self._warned = True
                logger.warning(
                    "the representation is collapsing: at step %d the projections of different images "
                    "are nearly identical (embedding_std %.3f, %s; effective rank %.1f). Try a lower "
                    "--optim.lr, a higher --method.target_momentum, a larger --data.batch_size, "
                    "or --method.name simclr",
                    step.step,
                    self.embedding_std,
                    BAND,
                    self.effective_rank,
                )

    def on_end(self, step: TrainingStep) -> None:
        """Write the loss matrix into the run folder."""
        if self.matrix is not None:
            used = step.method.mask.cpu()
            rows = [
                [round(float(loss), 5) if use else None for loss, use in zip(*row, strict=True)]
                for row in zip(self.matrix, used, strict=True)
            ]
            content = {"step": step.step, "views": self._names, "loss": rows}
            write_json(self._path, content)
