"""Stop and save at SIGINT, SIGTERM and SIGUSR1."""

from __future__ import annotations

import logging
import os
import signal
import threading
from types import FrameType
from typing import Any

from massrl.errors import TrainingError
from massrl.train.callbacks.base import StepCallback
from massrl.train.step import TrainingStep

logger = logging.getLogger("massrl")


def stop_signals() -> list[signal.Signals]:
    """Return SIGINT and SIGTERM; in a SLURM job also the signal that it sends before time is up."""
    slurm = [signal.SIGUSR1] if "SLURM_JOB_ID" in os.environ else []  # as --signal=SIGUSR1@90 asks
    return [signal.SIGINT, signal.SIGTERM, *slurm]


class SignalHandler(StepCallback):
    """Stop at a signal: finish the step, save, stop. A second Ctrl-C stops at once.

    All processes stop after the same step, whichever of them received the signal. The step asks them
    (``TrainingStep.stop_signal``), and ``Checkpoints`` saves what it is asked to stop at.

    A run whose last step is made has nothing to stop: SLURM's SIGUSR1 is ignored from then on, in place
    of ending a process that is writing its results.

    Attributes:
        received: name of the signal that stopped the run, ``None`` if none did.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._step: TrainingStep | None = None
        self._before: dict[signal.Signals, Any] = {}

    def on_start(self, step: TrainingStep) -> None:
        """Listen, if this is the main thread, which alone can."""
        self._step = step
        if threading.current_thread() is threading.main_thread():
            for number in stop_signals():
                self._before[number] = signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        assert self._step is not None
        if self._step.stop_requested and number == signal.SIGINT:
            raise TrainingError("stopped at once by a second Ctrl-C")
        self._step.stop_requested = number
        name = signal.Signals(number).name
        logger.info("%s: finishing this step and saving; Ctrl-C again stops at once", name)

    def on_end(self, step: TrainingStep) -> None:
        """Note which signal stopped the run, if one did before its last step."""
        if step.stop_signal and not step.is_last:
            self.received = signal.Signals(step.stop_signal).name

    def close(self) -> None:
        """Restore the handlers from before."""
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if number == signal.SIGUSR1 else handler)
        self._before.clear()
