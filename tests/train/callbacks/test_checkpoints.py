"""When checkpoints are saved, and what is never saved over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from massrl.errors import TrainingError
from massrl.train.callbacks import checkpoints as module
from massrl.train.callbacks.base import Clock
from massrl.train.callbacks.checkpoints import Checkpoints
from massrl.train.checkpoint import load_checkpoint


class Step:
    """The state of a run whose only weight is the number of its step."""

    is_last = False
    stop_signal = 0

    def __init__(self, step: int) -> None:
        self.step = step

    def state_dict(self) -> dict[str, Any]:
        """Return the number and a tensor."""
        return {"step": self.step, "weight": torch.tensor(float(self.step))}

    def check_finite(self) -> None:
        """Raise at step 13."""
        if self.step == 13:
            raise TrainingError("weights are no longer finite")


class Metrics:
    """Counts flushes."""

    flushed = 0

    def flush(self) -> None:
        """Count."""
        self.flushed += 1


def saved_steps(checkpoints: Checkpoints, path: Path, steps: list[Step]) -> list[int]:
    """The steps after which the file has another content."""
    saved: list[int] = []
    for step in steps:
        checkpoints.after_step(step)  # type: ignore[arg-type]
        number = load_checkpoint(path)["step"] if path.exists() else None
        if number is not None and number not in saved:
            saved.append(number)
    return saved


def make(path: Path, every: int | None) -> tuple[Checkpoints, Metrics]:
    metrics: Any = Metrics()
    return Checkpoints(path, every=every, clock=Clock(), metrics=metrics), metrics


def test_checkpoint_is_saved_every_few_steps_and_after_the_last(tmp_path: Path) -> None:
    """Guards the last steps of a run, which no multiple of ``checkpoint_every`` need reach."""
    path = tmp_path / "checkpoints" / "last.ckpt"
    checkpoints, metrics = make(path, 3)
    steps = [Step(number) for number in range(1, 9)]
    steps[-1].is_last = True
    assert saved_steps(checkpoints, path, steps) == [3, 6, 8]
    assert metrics.flushed == 3  # before each
    assert load_checkpoint(path)["seconds"] >= 0


def test_checkpoint_is_saved_every_five_minutes_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards long runs without ``checkpoint_every``."""
    seconds = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: seconds[0])
    path = tmp_path / "last.ckpt"
    checkpoints, _ = make(path, None)
    saved = []
    for number in range(1, 11):
        seconds[0] += 100
        checkpoints.after_step(Step(number))  # type: ignore[arg-type]
        saved.append(load_checkpoint(path)["step"] if path.exists() else 0)
    assert saved == [0, 0, 3, 3, 3, 6, 6, 6, 9, 9]


def test_checkpoint_is_saved_before_a_stop(tmp_path: Path) -> None:
    """Guards the work of a session that a signal ends."""
    path = tmp_path / "last.ckpt"
    checkpoints, _ = make(path, 100)
    step = Step(7)
    step.stop_signal = 15
    checkpoints.after_step(step)  # type: ignore[arg-type]
    assert load_checkpoint(path)["step"] == 7


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    """Guards the last good checkpoint."""
    path = tmp_path / "last.ckpt"
    checkpoints, _ = make(path, 1)
    checkpoints.after_step(Step(12))  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="no longer finite"):
        checkpoints.after_step(Step(13))  # type: ignore[arg-type]
    assert load_checkpoint(path)["step"] == 12


def test_clock_stands_still_during_a_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards equal seconds: a run that saves more often must not look slower."""
    now = [0.0]
    monkeypatch.setattr("massrl.train.callbacks.base.time.perf_counter", lambda: now[0])
    clock, seconds = Clock(60.0), []

    def save(path: Path, content: dict[str, Any]) -> None:
        seconds.append(content["seconds"])
        now[0] += 1000.0

    monkeypatch.setattr(module, "save_checkpoint", save)
    metrics: Any = Metrics()
    checkpoints = Checkpoints(tmp_path / "x", every=1, clock=clock, metrics=metrics)
    now[0] = 2.0
    checkpoints.after_step(Step(1))  # type: ignore[arg-type]
    assert seconds == [62.0]
    assert clock.now == 62.0
