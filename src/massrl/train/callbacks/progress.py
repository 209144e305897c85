"""Show loss, k-NN accuracy, throughput and time left during training."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
)
from rich.text import Text

from massrl.errors import counted
from massrl.runs.log import duration
from massrl.train.callbacks.base import Clock, StepCallback
from massrl.train.callbacks.probe import Probe
from massrl.train.step import TrainingStep

_SECONDS_BETWEEN_LINES = 15.0


class _TimeLeft(ProgressColumn):
    """Time left at the current speed, formatted by ``duration``."""

    def render(self, task: Task) -> Text:
        left = task.time_remaining
        return Text("time left: …" if left is None else f"{duration(left)} left", style="cyan")


class ProgressLine(StepCallback):
    """Show a live line on a terminal; print a plain line every fifteen seconds elsewhere.

    Args:
        console: where to show it.
        title: name of the run.
        clock: measures the throughput.
        probe: measures k-NN accuracy; ``None`` without labels.
    """

    def __init__(self, console: Console, *, title: str, clock: Clock, probe: Probe | None) -> None:
        self._console = console
        self._title = title
        self._clock = clock
        self._probe = probe
        self._progress: Progress | None = None
        self._printed = float("-inf")
        self._started = (0, 0.0)

    def on_start(self, step: TrainingStep) -> None:
        """Show the line."""
        self._started = (step.step, time.monotonic())
        if self._console.is_terminal:
            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                _TimeLeft(),
                TextColumn("{task.fields[figures]}"),
                console=self._console,
                speed_estimate_period=60,
            )
            total, done = step.schedule.total_steps, step.step
            self._task = self._progress.add_task(
                self._title, total=total, completed=done, figures=""
            )
            self._progress.start()

    def after_step(self, step: TrainingStep) -> None:
        """Update the line."""
        figures = self._figures(step)
        if self._progress is not None:
            self._progress.update(self._task, completed=step.step, figures=figures)
            return
        now = time.monotonic()
        total = step.schedule.total_steps
        if now - self._printed >= _SECONDS_BETWEEN_LINES or step.step == total:
            self._printed = now
            first, begin = self._started
            left = (now - begin) / max(1, step.step - first) * (total - step.step)
            self._console.print(
                f"{self._title}  step {step.step}/{total}  {duration(left)} left  {figures}",
                highlight=False,
                soft_wrap=True,
            )

    def _figures(self, step: TrainingStep) -> str:
        guessing = "" if step.chance is None else f" (guessing: {step.chance:.3f})"
        parts = [f"loss {step.loss:.3f}{guessing}"]
        if self._probe is not None and self._probe.accuracy is not None:
            parts.append(f"k-NN {self._probe.accuracy:.1f} %")
        if self._clock.images_per_second is not None:
            parts.append(f"{self._clock.images_per_second:.0f} images/s")
            parts.append(f"waiting for data {self._clock.data_wait:.0%}")
        if step.skipped:
            parts.append(f"{counted(len(step.skipped), 'image')} skipped")
        return " · ".join(parts)

    def close(self) -> None:
        """Remove the line."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
