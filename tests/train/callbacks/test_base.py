"""The base class of callbacks, and the throughput clock."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from massrl.distributed import World
from massrl.train.callbacks import base
from massrl.train.callbacks.base import Clock, StepCallback


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of the clock, as the only item of a list."""
    now = [100.0]
    monkeypatch.setattr(base.time, "perf_counter", lambda: now[0])
    return now


@pytest.fixture
def step() -> Any:
    """A step of 8 images in each of two processes."""
    return SimpleNamespace(world=World(size=2), num_images=8)


def test_callback_without_methods_does_nothing() -> None:
    """Guards subclasses that need one of the moments only."""
    callback, step = StepCallback(), SimpleNamespace()
    for moment in (callback.on_start, callback.after_step, callback.on_end):
        moment(step)  # type: ignore[arg-type]
    callback.close()


def test_clock_leaves_out_pauses_and_includes_the_current_step(
    time: list[float], step: Any
) -> None:
    """Guards equal seconds: a run that is probed more often must not look slower."""
    clock = Clock()
    clock.on_start(step)
    for _ in range(2):
        with clock.stage("data"):
            time[0] += 1.0  # waits for the batch
        with clock.stage("forward"):
            time[0] += 3.0
        with clock.paused():
            time[0] += 50.0  # probes
        assert clock.now == pytest.approx(clock.seconds + 4.0)
        clock.after_step(step)
    assert clock.seconds == pytest.approx(8.0)
    assert clock.images_per_second == pytest.approx(4.0)  # of both processes
    assert clock.data_wait == pytest.approx(0.25)


def test_clock_of_a_resumed_run_continues_its_seconds(time: list[float], step: Any) -> None:
    """Guards the seconds of a run over several sessions, and what happens before the first step."""
    clock = Clock(60.0)
    time[0] += 1000.0  # opens the images
    clock.on_start(step)
    time[0] += 5.0
    clock.after_step(step)
    assert clock.seconds == pytest.approx(65.0)


def test_clock_smooths_throughput_after_a_plain_mean(time: list[float], step: Any) -> None:
    """Guards the first value, which smoothing must not draw towards zero."""
    clock = Clock()
    assert clock.images_per_second is None
    clock.on_start(step)
    for seconds in (1.0, 2.0):
        time[0] += seconds
        clock.after_step(step)
    assert clock.images_per_second == pytest.approx((16 + 8) / 2)
    for _ in range(200):
        time[0] += 4.0
        clock.after_step(step)
    assert clock.images_per_second == pytest.approx(4.0, rel=0.01)
