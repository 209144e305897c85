"""The training loop: optimiser steps, each followed by the callbacks."""

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
        step: networks, optimiser and step counter; changed in place.
        batches: batches of all remaining steps, ``train.accumulate`` for each.
        callbacks: called after each step, in this order.

    Raises:
        MassrlError: if the run cannot continue; its last checkpoint stays valid.
    """
    try:
        for callback in callbacks:
            callback.on_start(step)
        iterator = iter(() if step.is_last else batches)  # no workers for no step
        while not (step.is_last or step.stop_signal):
            step(iterator)
            for callback in callbacks:
                callback.after_step(step)
        del iterator  # the loader's workers end while signals are still handled
        for callback in callbacks:
            callback.on_end(step)
    finally:
        for callback in reversed(callbacks):
            callback.close()
