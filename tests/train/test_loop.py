"""The loop: order of callbacks, ends, errors, and signals at any moment."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.train.conftest import make_step
from tests.train.test_step import Scale, batch

from massrl.data.loader import ViewBatch
from massrl.errors import ImageError, TrainingError
from massrl.train.callbacks.base import Clock, StepCallback
from massrl.train.callbacks.checkpoints import Checkpoints
from massrl.train.callbacks.signals import SignalHandler
from massrl.train.checkpoint import load_checkpoint
from massrl.train.loop import train
from massrl.train.step import TrainingStep


def scale_step(steps: int = 4) -> TrainingStep:
    method: Any = Scale()
    return make_step(method, train={"max_steps": steps})[0]


def batches() -> Iterator[ViewBatch]:
    while True:
        yield batch(1, 2)


class Recorder(StepCallback):
    """Records every call; raises or sends a signal at one of them."""

    def __init__(self, name: str = "", calls: list[str] | None = None, **at: Any) -> None:
        self.name = name
        self.calls = [] if calls is None else calls
        self.at = at

    def record(self, call: str, step: TrainingStep | None = None) -> None:
        """Append ``name.call step``."""
        label = call if step is None else f"{call} {step.step}"
        self.calls.append(f"{self.name}.{label}")
        action = self.at.get(label.replace(" ", "_"))
        if isinstance(action, Exception):
            raise action
        if action is not None:
            os.kill(os.getpid(), action)

    def on_start(self, step: TrainingStep) -> None:
        """Record."""
        self.record("start", step)

    def after_step(self, step: TrainingStep) -> None:
        """Record."""
        self.record("step", step)

    def on_end(self, step: TrainingStep) -> None:
        """Record."""
        self.record("end", step)

    def close(self) -> None:
        """Record."""
        self.record("close")


def test_callbacks_are_called_in_their_order_at_every_step() -> None:
    """Guards metrics that are flushed before the checkpoint, and signal handlers, which close last."""
    calls: list[str] = []
    train(scale_step(2), batches(), [Recorder("a", calls), Recorder("b", calls)])
    moments = ["start 0", "step 1", "step 2", "end 2"]
    expected = [f"{name}.{moment}" for moment in moments for name in "ab"]
    assert calls == [*expected, "b.close", "a.close"]


def test_run_that_has_made_its_steps_makes_no_other() -> None:
    """Guards the resume of a completed run."""
    step, recorder = scale_step(2), Recorder()
    step.step = 2
    train(step, iter([]), [recorder])
    assert recorder.calls == [".start 2", ".end 2", ".close"]


@pytest.mark.parametrize(
    "at", [{"start_0": TrainingError("x")}, {"step_2": TrainingError("x")}], ids=["start", "step"]
)
def test_error_of_a_callback_closes_all_of_them(at: dict[str, Any]) -> None:
    """Guards files and signal handlers against being left open, and errors against looking like an end."""
    first, second = Recorder(**at), Recorder()
    with pytest.raises(TrainingError, match="x"):
        train(scale_step(), batches(), [first, second])
    for recorder in (first, second):
        assert recorder.calls[-1] == ".close"
        assert not any("end" in call for call in recorder.calls)


def test_error_of_a_step_closes_all_callbacks() -> None:
    """Guards the same for what happens most: a broken image in the middle of a run."""
    recorder = Recorder()
    broken = [batch(1, 2), batch(1, 2, failures=[("b.png", "empty")])]
    with pytest.raises(ImageError):
        train(scale_step(), iter(broken), [recorder])
    assert recorder.calls == [".start 0", ".step 1", ".close"]


@pytest.fixture
def handlers_before() -> Iterator[None]:
    """Fail if a signal handler is left installed."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


class NoMetrics:
    """In the place of ``MetricsCallback``."""

    def flush(self) -> None:
        """Flush nothing."""


def run_with(
    folder: Path, first: Recorder, last: Recorder
) -> tuple[SignalHandler, TrainingStep, Path]:
    """Train with signals and checkpoints, between a first and a last callback."""
    signals, step, clock = SignalHandler(), scale_step(5), Clock()
    metrics: Any = NoMetrics()
    path = folder / "last.ckpt"
    checkpoints = Checkpoints(path, every=None, clock=clock, metrics=metrics)
    train(step, batches(), [signals, first, checkpoints, clock, last])
    return signals, step, path


@pytest.mark.usefixtures("handlers_before")
@pytest.mark.parametrize(
    ("moment", "stopped_at"),
    [("start_0", 1), ("step_1", 2), ("step_4", None), ("step_5", None), ("end_5", None)],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_at_any_moment_stops_after_a_saved_step_or_not_at_all(
    tmp_path: Path, moment: str, stopped_at: int | None, number: signal.Signals
) -> None:
    """Guards work: between two steps, before the first, and after the last, where nothing is to stop."""
    signals, step, path = run_with(tmp_path, Recorder(), Recorder(**{moment: number}))
    assert step.step == (stopped_at or 5)
    assert load_checkpoint(path)["step"] == step.step
    assert signals.received == (number.name if stopped_at else None)


@pytest.mark.usefixtures("handlers_before")
def test_second_interrupt_stops_at_once_without_saving(tmp_path: Path) -> None:
    """Guards an impatient user: the second Ctrl-C does not wait for the step."""
    with pytest.raises(TrainingError, match="second Ctrl-C"):
        run_with(tmp_path, Recorder(start_0=signal.SIGINT), Recorder(start_0=signal.SIGINT))
    assert not (tmp_path / "last.ckpt").exists()
