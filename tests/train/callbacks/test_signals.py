"""Signals: which are handled, what a second one does, and what is restored."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from massrl.errors import TrainingError, interrupt
from massrl.train.callbacks.signals import SignalHandler

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in NUMBERS]


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Restore what a failing test leaves."""
    before = handlers()
    yield
    for number, handler in zip(NUMBERS, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A step of a run outside SLURM."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return SimpleNamespace(stop_requested=0, stop_signal=0, is_last=False)


@pytest.mark.parametrize("slurm", [False, True])
def test_handlers_are_installed_for_the_session_and_restored(
    slurm: bool, step: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards programs around a run: their handlers return, and SIGUSR1 is theirs outside SLURM."""
    if slurm:
        monkeypatch.setenv("SLURM_JOB_ID", "1")
    before, signals = handlers(), SignalHandler()
    signals.on_start(step)
    changed = [one is not other for one, other in zip(handlers(), before, strict=True)]
    assert changed == [True, True, slurm]
    signals.close()
    assert handlers() == before
    signals.close()  # twice, as after an error in ``on_start``
    assert handlers() == before


def test_signal_only_requests_a_stop(step: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Guards the step against being interrupted: the request is read at its end."""
    signals = SignalHandler()
    signals.on_start(step)
    with caplog.at_level(logging.INFO, logger="massrl"):
        os.kill(os.getpid(), signal.SIGTERM)
    assert step.stop_requested == signal.SIGTERM
    assert step.stop_signal == 0
    assert "SIGTERM: finishing this step and saving; Ctrl-C again stops at once" in caplog.text


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_after_another_signal_stops_at_once(step: Any, first: signal.Signals) -> None:
    """Guards the way out of a step that hangs."""
    SignalHandler().on_start(step)
    os.kill(os.getpid(), first)
    with pytest.raises(TrainingError, match="stopped at once by a second Ctrl-C"):
        os.kill(os.getpid(), signal.SIGINT)


def test_second_termination_still_waits_for_the_step(step: Any) -> None:
    """Guards schedulers that repeat SIGTERM: the step is saved all the same."""
    SignalHandler().on_start(step)
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    assert step.stop_requested == signal.SIGTERM


@pytest.mark.parametrize(
    ("stop_signal", "is_last", "received"),
    [
        (0, False, None),
        (signal.SIGTERM, False, "SIGTERM"),
        (signal.SIGTERM, True, None),
    ],
)
def test_signal_at_the_last_step_does_not_stop_the_run(
    step: Any, stop_signal: int, is_last: bool, received: str | None
) -> None:
    """Guards a completed run against looking like a stopped one."""
    step.stop_signal, step.is_last = stop_signal, is_last
    signals = SignalHandler()
    signals.on_end(step)
    assert signals.received == received


def test_run_in_another_thread_leaves_the_handlers_alone(step: Any) -> None:
    """Guards notebooks and servers: only the main thread can install handlers."""
    before, signals = handlers(), SignalHandler()
    thread = Thread(target=signals.on_start, args=(step,))
    thread.start()
    thread.join()
    assert handlers() == before
    signals.close()


def test_signal_of_slurm_that_is_held_back_arrives_with_the_first_step(
    step: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the time before training: the command line blocks SIGUSR1, which must not be lost.

    After the last step it is blocked again: it must not end a job that is done.
    """
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    thread = threading.get_ident()  # the command line blocks it before any other thread is started
    try:
        signal.pthread_kill(thread, signal.SIGUSR1)
        signals = SignalHandler()
        signals.on_start(step)
        assert step.stop_requested == signal.SIGUSR1
        signals.close()
        assert signal.SIGUSR1 in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        signal.pthread_kill(thread, signal.SIGUSR1)
        assert signal.sigpending() == {signal.SIGUSR1}
    finally:
        if signal.SIGUSR1 in signal.sigpending():
            signal.sigwait([signal.SIGUSR1])
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("command", [True, False])
def test_command_whose_run_has_ended_is_not_stopped_any_more(
    step: Any, command: bool, ended: bool
) -> None:
    """Guards the last moments of a finished run, which Ctrl-C and SIGTERM made a failed one.

    Not so a run that has failed, nor a program around a run, which has more to do.
    """
    signal.signal(signal.SIGINT, interrupt if command else signal.default_int_handler)
    before, signals = handlers(), SignalHandler()
    signals.on_start(step)
    if ended:
        signals.on_end(step)
    signals.close()
    ignored = [signal.SIG_IGN, signal.SIG_IGN, before[2]]
    assert handlers() == (ignored if command and ended else before)
