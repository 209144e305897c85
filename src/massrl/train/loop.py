"""The training loop, whole: batches to optimiser steps, and what happens after each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from massrl.data.loader import ViewBatch
from massrl.train.callbacks.base import StepCallback
from massrl.train.step import TrainingStep


def train(
    step: TrainingStep, batches: Iterable[ViewBatch], callbacks: Sequence[StepCallback] = ()
) -> None:
    """Train until the last step, or until a signal asks all processes to stop.

    Args:
        step: networks, optimiser and position; changed in place.
        batches: those of all steps that are still to be made, ``train.accumulate`` for each.
        callbacks: run after each step, in their order.

    Raises:
        MassrlError: if the run cannot continue; the last checkpoint is kept.
    """
    try:
        for callback in callbacks:
            callback.on_start(step)
        iterator = iter(batches)
        while not (step.is_last or step.stop_signal):
            step(iterator)
            for callback in callbacks:
                callback.after_step(step)
        for callback in callbacks:
            callback.on_end(step)
    finally:
        for callback in callbacks:
            callback.close()
