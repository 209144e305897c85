"""The stop of a run that is slower than planned, on a clock that the test moves."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import Any

import pytest

from massrl.train.callbacks.signals import TIME_BUDGET, SignalHandler
from massrl.train.callbacks.time_limit import TimeBudget, TimeLimit
from massrl.train.step import OUT_OF_TIME


class Hands:
    """A clock that a test moves."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now


def run_of(
    seconds: list[float],
    *,
    budget: float,
    closing: float = 0.0,
    used: float = 0.0,
    pauses: Any = (),
) -> tuple[int, float]:
    """Return steps made and seconds used of a run whose steps take these seconds."""
    hands = Hands(1000.0)
    limit = TimeLimit(TimeBudget(seconds=budget, begin=1000.0, closing=closing, clock=hands))
    hands.now += used
    step: Any = SimpleNamespace(
        step=0, schedule=SimpleNamespace(total_steps=len(seconds)), stop_requested=0
    )
    limit.on_start(step)
    for number, duration in enumerate(seconds):
        stop = step.stop_requested  # as TrainingStep does, at the beginning or at the end of a step
        hands.now += duration
        step.step += 1
        limit.after_step(step)
        if stop:
            break
        hands.now += dict(pauses).get(number, 0.0)
    return step.step, hands.now - 1000.0 + closing


def test_run_as_fast_as_planned_makes_all_its_steps() -> None:
    """Guards the schedule: what was planned for is not cut off, nor what is up to a tenth longer."""
    assert run_of([1.0] * 20, budget=20.0) == (20, 20.0)
    assert run_of([1.0] * 18, budget=20.0, closing=2.0) == (18, 20.0)
    assert run_of([1.09] * 20, budget=20.0)[0] == 20


@pytest.mark.parametrize("seconds", [1.3, 2.0, 6.0, 30.0])
@pytest.mark.parametrize("closing", [0.0, 3.0])
def test_slower_run_stays_within_a_tenth_or_a_step(seconds: float, closing: float) -> None:
    """Guards a budget of 20 s, of which a run made 128; steps longer than the budget are the worst case.

    A request needs one more step, so two are the least that a run of several steps makes.
    """
    steps, used = run_of([seconds] * 1000, budget=20.0, closing=closing)
    assert steps < 1000
    assert used <= 20 * 1.1 or steps == 2
    assert used >= min(20.0, 20 * 1.1 - seconds)


def test_run_that_becomes_slower_is_stopped_by_what_its_steps_take_by_now() -> None:
    """Guards machines that others begin to use."""
    steps, used = run_of([0.1] * 100 + [1.0] * 100, budget=20.0)
    assert 100 < steps < 120
    assert 18.0 <= used <= 22.0


def test_step_after_a_probe_does_not_end_the_run() -> None:
    """Guards against a probe taken for a slow step: this run has time for all its steps."""
    assert run_of([0.5] * 30, budget=20.0, pauses={14: 3.0, 27: 1.0})[0] == 30


def test_time_of_planning_counts() -> None:
    """Guards the budget against what happens before the first step."""
    assert run_of([1.0] * 20, budget=20.0, used=9.0) == (13, 22.0)


def test_signal_takes_precedence_over_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the exit code of a run that is interrupted while its budget runs out; one name for each."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert all(number > OUT_OF_TIME for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1))
    for number, name in ((OUT_OF_TIME, TIME_BUDGET), (signal.SIGTERM, "SIGTERM")):
        signals = SignalHandler()
        signals.on_end(SimpleNamespace(stop_signal=number, is_last=False))  # type: ignore[arg-type]
        assert signals.received == name


def test_interrupt_of_a_run_that_is_out_of_time_saves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards a first Ctrl-C, which must not be taken for a second one."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    step: Any = SimpleNamespace(stop_requested=OUT_OF_TIME, stop_signal=0, is_last=False)
    signals = SignalHandler()
    signals.on_start(step)
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        signals.close()
    assert step.stop_requested == signal.SIGINT
