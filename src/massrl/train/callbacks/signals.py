"""Stop and save at SIGINT, SIGTERM and SIGUSR1."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType
from typing import Any

from massrl.errors import StoppedError, interrupt
from massrl.train.callbacks.base import StepCallback
from massrl.train.launchers import TIME_LIMIT_SIGNAL, stop_signals
from massrl.train.step import OUT_OF_TIME, TrainingStep

logger = logging.getLogger("massrl")

TIME_BUDGET = "its time budget"
"""What stopped a run that no signal stopped."""


class SignalHandler(StepCallback):
    """Stop at a signal: finish the step, save, stop. A second Ctrl-C stops at once.

    A signal only sets ``TrainingStep.stop_requested``; the next step to end sets ``stop_signal`` in all
    processes, after which ``Checkpoints`` saves and the loop ends. A signal after the last step has no
    effect: the run is complete, and its files are written all the same. SLURM's signal, if it arrives before
    the first step, stops after that.

    Attributes:
        received: name of the signal that stopped the run, or ``TIME_BUDGET``; ``None`` if nothing did.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._step: TrainingStep | None = None
        self._handlers_before: dict[signal.Signals, Any] = {}
        self._mask_before: set[int] | None = None
        self._ended = False

    def on_start(self, step: TrainingStep) -> None:
        """Install the handlers, which only the main thread can."""
        self._step = step
        if threading.current_thread() is threading.main_thread():
            for number in stop_signals():
                self._handlers_before[number] = signal.signal(number, self._receive)
            if hasattr(signal, "pthread_sigmask"):
                # The command line blocks SLURM's signal, which may have arrived by now.
                held = [number for number in stop_signals() if number.name == TIME_LIMIT_SIGNAL]
                self._mask_before = signal.pthread_sigmask(signal.SIG_UNBLOCK, held)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        assert self._step is not None
        if self._step.stop_requested > OUT_OF_TIME and number == signal.SIGINT:
            raise StoppedError("stopped at once by a second Ctrl-C", signal_name="SIGINT")
        self._step.stop_requested = number
        name = signal.Signals(number).name
        doing = (
            "the run is complete, saving it"
            if self._step.is_last
            else "finishing this step and saving"
        )
        logger.info("%s: %s; Ctrl-C again stops at once", name, doing)

    def on_end(self, step: TrainingStep) -> None:
        """Set ``received``, if a signal or the time budget stopped the run before its last step."""
        self._ended = True
        if step.stop_signal and not step.is_last:
            out_of_time = step.stop_signal == OUT_OF_TIME
            self.received = TIME_BUDGET if out_of_time else signal.Signals(step.stop_signal).name

    def close(self) -> None:
        """Restore what was blocked, and the previous handlers.

        A command whose run has ended well ignores signals until it exits: there is nothing left to stop.
        """
        command = self._handlers_before.get(signal.SIGINT) is interrupt
        if self._mask_before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask_before)
            self._mask_before = None
        for number, handler in self._handlers_before.items():
            # A handler of C code is None here, and cannot be restored.
            before = signal.SIG_DFL if handler is None else handler
            signal.signal(number, signal.SIG_IGN if command and self._ended else before)
        self._handlers_before.clear()
