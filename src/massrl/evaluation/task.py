"""Judges a backbone by labelled images: every task on the same ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from massrl.config.evaluation import EvaluateConfig
from massrl.errors import MassrlError
from massrl.evaluation.context import EvaluationContext

logger = logging.getLogger("massrl")

ALL, LOOK, TRANSFER = "all", "features", "transfer"


TUNED = "-finetuned"  # ends the name of such an outcome


class TaskResult(NamedTuple):
    """What a task came to.

    Attributes:
        name: of the figures, such as ``semi-10`` of the task ``semi``.
        scores: ``(n, num_classes)`` of the test images, higher is better.
        chosen: settings in use, and how they were chosen.
    """

    name: str
    scores: Tensor
    chosen: dict[str, Any]


@dataclass(frozen=True)
class Task:
    """A way to judge.

    Attributes:
        title: what a person calls it.
        run: gives one outcome or several.
    """

    title: str
    run: Callable[[EvaluationContext, EvaluateConfig], Iterator[TaskResult]]


@contextmanager
def skip_on_error(name: str, config: EvaluateConfig) -> Iterator[None]:
    """Where ``all`` tasks are asked for, one that fails is left out with a word; else it ends all."""
    try:
        yield
    except MassrlError as error:
        if ALL not in config.task:
            raise
        logger.warning("%s is left out: %s", name, error)


def _by_text(accuracy: dict[float, float]) -> dict[str, float]:
    return {f"{key:g}": value for key, value in accuracy.items()}
