"""Rows of ``metrics.csv``: which steps have one, and what is in it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from massrl.optim.schedules import Schedule
from massrl.runs.metrics import read_metrics
from massrl.train.callbacks.metrics import MetricsCallback

SCHEDULE = Schedule(peak_lr=0.5, warmup_steps=0, total_steps=40, target_momentum=0.9)


class Rows:
    """In the place of the loggers."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, Any]]] = []

    def row(self, values: dict[str, Any], step: int) -> None:
        """Record."""
        self.rows.append((step, values))


class Monitor:
    """In the place of the collapse monitor."""

    embedding_std: float | None = None
    feature_std: float | None = None
    prediction_std: float | None = None
    effective_rank: float | None = None


def make(path: Path, **parts: Any) -> tuple[MetricsCallback, Rows]:
    rows = Rows()
    clock = SimpleNamespace(images_per_second=10.0, data_wait=0.25, now=3.5)
    arguments: Any = {"clock": clock, "monitor": Monitor(), "probe": None, "loggers": rows}
    return MetricsCallback(path, steps_per_epoch=5, **{**arguments, **parts}), rows


def step_after(number: int, *, log_every: int = 1, has_target: bool = True) -> Any:
    return SimpleNamespace(
        step=number,
        is_last=number == 30,
        loss=1.5,
        chance=4.0,
        lr=0.25,
        gradient_norm=2.0,
        skipped={"a": "b"},
        schedule=SCHEDULE,
        method=SimpleNamespace(has_target=has_target, num_views=4),
        config=SimpleNamespace(train=SimpleNamespace(log_every=log_every)),
    )


def test_row_has_every_value_of_its_step(tmp_path: Path) -> None:
    """Guards shifted steps, epochs and units; the loggers receive the same values."""
    callback, rows = make(tmp_path / "metrics.csv")
    callback.on_start(step_after(0))
    for number in (1, 2):
        callback.after_step(step_after(number))
    callback.close()
    row = read_metrics(tmp_path / "metrics.csv")[1]
    values = {name: float(value) for name, value in row.items() if value != ""}
    assert values == pytest.approx(
        {
            "step": 1,
            "epoch": 0.4,
            "loss": 1.5,
            "chance": 4.0,
            "lr": 0.25,
            "tau": SCHEDULE.tau(1),
            "gradient_norm": 2.0,
            "images_per_second": 10.0,
            "views_per_second": 40.0,
            "data_wait": 0.25,
            "skipped": 1,
            "seconds": 3.5,
        },
        rel=1e-4,
    )
    assert [number for number, _ in rows.rows] == [0, 1]
    assert rows.rows[1][1]["loss"] == 1.5


def test_objective_without_a_target_has_no_momentum(tmp_path: Path) -> None:
    """Guards SimCLR's rows against BYOL's τ."""
    callback, _ = make(tmp_path / "metrics.csv")
    callback.on_start(step_after(0))
    callback.after_step(step_after(1, has_target=False))
    callback.close()
    assert read_metrics(tmp_path / "metrics.csv")[0]["tau"] == ""


def test_rows_are_written_at_the_interval_and_wherever_something_was_measured(
    tmp_path: Path,
) -> None:
    """Guards the curves of spread, rank and k-NN against ``--train.log_every 10``."""
    monitor, probe = Monitor(), SimpleNamespace(accuracy=50.0, fresh=False)
    callback, _ = make(tmp_path / "metrics.csv", monitor=monitor, probe=probe)
    callback.on_start(step_after(0))
    for number in range(1, 31):
        monitor.embedding_std = 0.9 if number == 25 else None
        probe.fresh = number == 7
        callback.after_step(step_after(number, log_every=10))
    callback.close()
    rows = read_metrics(tmp_path / "metrics.csv")
    assert [row["step"] for row in rows] == ["0", "6", "10", "20", "24", "29"]
    assert [row["step"] for row in rows if row["knn"]] == ["6"]
    assert [row["step"] for row in rows if row["embedding_std"]] == ["24"]


def test_resumed_session_replaces_the_rows_of_the_steps_it_makes_again(tmp_path: Path) -> None:
    """Guards the curve against steps that a crashed session made after its checkpoint."""
    for steps in (range(1, 6), range(4, 8)):
        callback, _ = make(tmp_path / "metrics.csv")
        callback.on_start(step_after(steps[0] - 1))
        for number in steps:
            callback.after_step(step_after(number))
        callback.flush()
        callback.close()
        callback.close()  # twice, as after an error
        callback.flush()
    steps_written = [int(row["step"]) for row in read_metrics(tmp_path / "metrics.csv")]
    assert steps_written == list(range(7))
