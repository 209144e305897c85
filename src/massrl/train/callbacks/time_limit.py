"""The time budget of a run, and the stop when it is used up."""

from __future__ import annotations

import logging
import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from massrl.train.callbacks.base import StepCallback
from massrl.train.step import OUT_OF_TIME, TrainingStep

logger = logging.getLogger("massrl")

TOLERANCE = 0.1  # of a time budget, by which a run may be longer
_RECENT = 9  # steps, whose median is how long the next is expected to take


@dataclass(frozen=True, kw_only=True)
class TimeBudget:
    """Seconds that a run may take, from its command to its last file.

    Attributes:
        seconds: that the user gave.
        begin: what the clock showed at the start.
        closing: seconds expected after the last step, for the last probe.
        clock: returns seconds.
    """

    seconds: float
    begin: float
    closing: float = 0.0
    clock: Callable[[], float] = time.monotonic

    @property
    def used(self) -> float:
        """Seconds since the start."""
        return self.clock() - self.begin

    @property
    def left(self) -> float:
        """Seconds that steps may still take, below 0 if there are none."""
        return self.seconds - self.used - self.closing

    def has_room_for(self, seconds: float) -> bool:
        """Return whether the run may go on for so long without being a tenth longer than its budget."""
        return seconds <= self.left + TOLERANCE * self.seconds


class TimeLimit(StepCallback):
    """Stop a run that is slower than it was planned for, when a tenth more than its budget is used up.

    A request made after one step is followed by one more step (``TrainingStep.stop_signal``), so it is
    made while there is time for that, but not for two.

    Args:
        budget: of the run.
    """

    def __init__(self, budget: TimeBudget) -> None:
        self._budget = budget
        self._last = 0.0
        self._recent: deque[float] = deque(maxlen=_RECENT)

    def on_start(self, step: TrainingStep) -> None:
        """Start to time the first step."""
        self._last = self._budget.used

    def after_step(self, step: TrainingStep) -> None:
        """Ask for a stop if there is no time for two more steps as long as the last ones."""
        used = self._budget.used
        self._recent.append(used - self._last)
        self._last = used
        seconds = statistics.median(self._recent)  # a step after a probe seems longer
        left = step.schedule.total_steps - step.step
        if left > 1 and not step.stop_requested and not self._budget.has_room_for(2 * seconds):
            step.stop_requested = OUT_OF_TIME
            logger.warning(
                "the time budget of %.0f s is used up, sooner than planned: stopping after step %d of %d",
                self._budget.seconds,
                step.step + 1,
                step.schedule.total_steps,
            )
