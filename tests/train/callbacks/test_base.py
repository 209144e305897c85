"""The throughput clock."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from massrl.distributed import World
from massrl.train.callbacks import base
from massrl.train.callbacks.base import Clock


def test_clock_leaves_out_probes_and_counts_the_step_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guards equal seconds: a run that is probed more often must not look slower."""
    now = [100.0]
    monkeypatch.setattr(base.time, "perf_counter", lambda: now[0])
    clock, step = Clock(), SimpleNamespace(world=World(size=2), num_images=8)
    clock.on_start(step)  # type: ignore[arg-type]
    for _ in range(2):
        with clock.stage("data"):
            now[0] += 1.0  # waits for the batch
        now[0] += 3.0  # computes
        with clock.paused():
            now[0] += 50.0  # probes
        assert clock.now == pytest.approx(clock.seconds + 4.0)
        clock.after_step(step)  # type: ignore[arg-type]
    assert clock.seconds == pytest.approx(8.0)
    assert clock.images_per_second == pytest.approx(4.0)  # of both processes
    assert clock.data_wait == pytest.approx(0.25)
