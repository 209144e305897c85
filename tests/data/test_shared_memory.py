"""Room for finished batches: fewer ahead, or a refusal that says how many workers fit."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from massrl.data.shared_memory import batches_ahead, fitting_workers, free_room
from massrl.errors import ConfigError

MB = 1 << 20


@pytest.mark.parametrize(
    ("batch_bytes", "workers", "ahead"),
    [(1_000, 2, 4), (256 * 8 * 224 * 224 * 3, 4, 1), (200 * MB, 4, 2), (0, 16, 4)],
)
def test_batches_ahead_are_bounded_in_bytes(batch_bytes: int, workers: int, ahead: int) -> None:
    """Guards memory: 16 workers with four batches of 8 views of 224 px each would hold 19 GB."""
    assert batches_ahead(batch_bytes, workers) == ahead


@pytest.mark.parametrize(
    ("room", "workers", "ahead"),
    [
        (64 * MB, 1, 4),
        (40 * MB, 1, 3),  # 3 ahead and 1 in use, of 10 MB each
        (64 * MB, 2, 2),
        (30 * MB, 2, 1),
        (1 << 40, 2, 4),
    ],
)
def test_fewer_batches_are_ahead_where_there_is_less_room(
    room: int, workers: int, ahead: int
) -> None:
    """Guards containers: Docker gives 64 MB, which a worker otherwise overruns and is killed."""
    assert batches_ahead(10 * MB, workers, room) == ahead


def test_batches_that_do_not_fit_are_refused_with_the_ways_out() -> None:
    """Guards the start of a run: one line before the first step, with sizes and flags."""
    with pytest.raises(ConfigError) as caught:
        batches_ahead(38 * MB, 2, 64 * MB)
    message = str(caught.value)
    assert "--data.workers is 2" in message
    assert "38.0 MiB" in message
    assert "64.0 MiB free" in message
    assert "--shm-size" in message
    assert "use --data.workers 0, which loads in this process" in message
    assert "\n" not in message
    with pytest.raises(ConfigError, match=r"or use --data\.workers 5$"):
        batches_ahead(10 * MB, 16, 64 * MB)


def test_workers_that_fit_leave_room_for_the_batch_in_use() -> None:
    """Guards evaluation, which chooses the number of workers itself."""
    assert [fitting_workers(4, 10 * MB, room * MB) for room in (9, 19, 20, 49, 50, 99)] == [
        *(0, 0, 1, 3, 4, 4)
    ]


def test_room_is_what_is_free_for_each_process_and_no_limit_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guards several devices of one machine, and systems that set no shared memory aside."""
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=100, f_frsize=4096))
    assert free_room(1) == 409_600
    assert free_room(4) == 102_400

    def fail(path: object) -> None:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "statvfs", fail)
    assert free_room(1) is None
    assert fitting_workers(3, 1 << 60) == 3
    monkeypatch.delattr(os, "statvfs")
    assert free_room(1) is None
