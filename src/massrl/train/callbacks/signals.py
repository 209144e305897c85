"""Stop and save at SIGINT, SIGTERM and SIGUSR1."""

from __future__ import annotations

import logging
import os
import signal
import threading
from types import FrameType
from typing import Any

import lightning

from massrl.errors import TrainingError
from massrl.train.callbacks.base import StepCallback
from massrl.train.callbacks.checkpoints import Checkpoints
from massrl.train.module import PretrainingModule

logger = logging.getLogger("massrl")


def stopping_signals() -> list[signal.Signals]:
    """Ctrl-C and SIGTERM; in a job of SLURM's also the one that comes before its time is up."""
    warned = [signal.SIGUSR1] if "SLURM_JOB_ID" in os.environ else []  # as --signal=SIGUSR1@90 asks
    return [signal.SIGINT, signal.SIGTERM, *warned]


class SignalHandler(StepCallback):
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
