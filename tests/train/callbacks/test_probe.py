"""The k-NN probe during training."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from massrl.train.callbacks.base import Clock
from massrl.train.callbacks.probe import Probe


def test_probe_measures_the_backbone_every_few_steps_and_after_the_last(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Guards the curve: every epoch and the end, and no value of an earlier step in between."""
    probed: list[Any] = []

    def measure(backbone: Any) -> float:
        probed.append(backbone)
        return 40.0 + len(probed)

    probe = Probe(measure, every=3, clock=Clock())
    assert (probe.accuracy, probe.fresh) == (None, False)
    fresh = []
    with caplog.at_level(logging.INFO, logger="massrl"):
        for number in range(1, 8):
            method = SimpleNamespace(backbone=number)
            step = SimpleNamespace(step=number, is_last=number == 7, method=method)
            probe.after_step(step)  # type: ignore[arg-type]
            fresh.append(probe.fresh)
    assert probed == [3, 6, 7]
    assert [number for number, is_fresh in enumerate(fresh, start=1) if is_fresh] == [3, 6, 7]
    assert probe.accuracy == 43.0
    assert "step 6: k-NN 42.0 %" in caplog.text


def test_clock_stands_still_during_a_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards equal seconds: a run that is probed more often must not look slower."""
    now = [0.0]
    monkeypatch.setattr("massrl.train.callbacks.base.time.perf_counter", lambda: now[0])
    clock = Clock()

    def measure(backbone: Any) -> float:
        now[0] += 1000.0
        return 50.0

    step: Any = SimpleNamespace(step=1, is_last=True, method=SimpleNamespace(backbone=None))
    Probe(measure, every=1, clock=clock).after_step(step)
    assert clock.now == 0.0
