"""Base class of per-step callbacks, and the throughput clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from massrl.train.step import StepObserver, TrainingStep

_NEWEST_WEIGHT = 0.05  # of the last step in a smoothed value


class StepCallback:
    """Base class of callbacks, which act after each optimiser step."""

    def on_start(self, step: TrainingStep) -> None:
        """Prepare for the first step of a session."""

    def after_step(self, step: TrainingStep) -> None:
        """Act after an optimiser step; ``step.step`` counts it."""

    def on_end(self, step: TrainingStep) -> None:
        """Finish a session that ended without an error."""

    def close(self) -> None:
        """Release the resources of ``on_start``; called after errors, too."""


class Clock(StepCallback, StepObserver):
    """Measure the duration of steps, and the time they wait for data.

    It is both the step's observer, for the wait, and the last callback. Probes and checkpoints run within
    ``paused`` and are not counted.

    Attributes:
        seconds: duration of all completed steps, including earlier sessions of the run.
        images_per_second: throughput of all processes, smoothed; ``None`` before the first step.
        data_wait: fraction of the time spent waiting for batches, smoothed.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.images_per_second: float | None = None
        self.data_wait = 0.0
        self._num_steps = 0
        self._waited = 0.0
        self._last = time.perf_counter()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock within this context."""
        begin = time.perf_counter()
        yield
        self._last += time.perf_counter() - begin

    @property
    def now(self) -> float:
        """``seconds``, plus those of the current step so far."""
        return self.seconds + time.perf_counter() - self._last

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the wait for data; see ``StepObserver.stage``."""
        begin = time.perf_counter()
        yield
        if name == "data":
            self._waited += time.perf_counter() - begin

    def on_start(self, step: TrainingStep) -> None:
        """Start the clock."""
        self._last = time.perf_counter()

    def after_step(self, step: TrainingStep) -> None:
        """Add the step to the totals."""
        now = time.perf_counter()
        whole = now - self._last
        self._num_steps += 1
        weight = max(_NEWEST_WEIGHT, 1 / self._num_steps)
        speed, before = step.num_images * step.world.size / whole, self.images_per_second or 0.0
        self.images_per_second = before + weight * (speed - before)
        self.data_wait += weight * (self._waited / whole - self.data_wait)
        self.seconds += whole
        self._waited = 0.0
        self._last = now
