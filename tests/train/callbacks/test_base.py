"""What watches a run, apart from the run."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from massrl.distributed import World
from massrl.train.callbacks import base as watching
from massrl.train.callbacks.base import Clock


def test_clock_leaves_out_probes_and_counts_the_step_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guards equal seconds: a run that is probed more often must not look slower."""
    now = [100.0]
    monkeypatch.setattr(watching.time, "perf_counter", lambda: now[0])
    batch = SimpleNamespace(indices=range(8))
    clock, two = Clock(), SimpleNamespace(world=World(size=2))
    clock.on_train_start(None, None)
    for _ in range(2):
        now[0] += 1.0  # waits for the batch
        clock.on_train_batch_start(None, None, batch, 0)
        now[0] += 3.0  # computes
        with clock.paused():
            now[0] += 50.0  # probes
        assert clock.now == pytest.approx(clock.seconds + 4.0)
        clock.on_train_batch_end(None, two, None, batch, 0)
    assert clock.seconds == pytest.approx(8.0)
    assert clock.images_per_second == pytest.approx(4.0)  # of both processes
    assert clock.data_wait == pytest.approx(0.25)
