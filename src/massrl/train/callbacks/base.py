"""The base class of what happens after each optimiser step, and the throughput clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from massrl.train.step import StepObserver, TrainingStep

_NEWEST_WEIGHT = 0.05  # of the last step in a smoothed value


class StepCallback:
    """Something to do after each optimiser step."""

    def on_start(self, step: TrainingStep) -> None:
        """Prepare, before the first step of a session."""

    def after_step(self, step: TrainingStep) -> None:
        """Act when ``step.step`` steps have been made."""

    def on_end(self, step: TrainingStep) -> None:
        """Finish, after the last step of a session that ended without an error."""

    def close(self) -> None:
        """Release what ``on_start`` took, whether the session ended well or not."""


class Clock(StepCallback, StepObserver):
    """Measures the seconds of the steps, and how many of them were spent waiting for data.

    It is the step's observer, for the wait, and the last of its callbacks. Probes and checkpoints do not
    count: they run within ``paused``.

    Attributes:
        seconds: seconds spent on whole steps, including those of earlier sessions of the run.
        images_per_second: of the last steps, smoothed; ``None`` before the first has ended.
        data_wait: fraction of the last steps' time spent waiting for batches, smoothed.
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
        """Leave out what runs within this context."""
        begin = time.perf_counter()
        yield
        self._last += time.perf_counter() - begin

    @property
    def now(self) -> float:
        """``seconds``, including those of the step under way."""
        return self.seconds + time.perf_counter() - self._last

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """See ``StepObserver``: measure the wait for data."""
        begin = time.perf_counter()
        yield
        if name == "data":
            self._waited += time.perf_counter() - begin

    def on_start(self, step: TrainingStep) -> None:
        """Start the clock."""
        self._last = time.perf_counter()

    def after_step(self, step: TrainingStep) -> None:
        """Count the step that was just made."""
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
