"""What views cost: figures that add up, not how large they are."""

from __future__ import annotations

import re
from itertools import count
from pathlib import Path

import pytest
import torch
from tests.conftest import photos

from massrl.commands.bench import measure_views
from massrl.errors import DataError
from massrl.views import timing
from massrl.views.timing import ViewCost


def test_every_stage_and_operation_is_measured(tmp_path: Path) -> None:
    """Guards the table: an operation that is drawn and not measured, a count that is not an image's."""
    folder = photos(tmp_path / "photos", "a", count=6)
    (folder / "a" / "0.png").write_text("no picture")
    views = {"layout": "simclr", "policies": ["simclr(strength=0,blur_prob=1)"], "size": 16}
    cost = measure_views({"images": str(folder), "views": views, "count": 4, "rounds": 2})
    assert cost.num_images == 4
    assert list(cost.stages) == ["read", "decode", "plan", "cut and resize", "operations"]
    assert all(value > 0 for value in cost.stages.values())
    assert cost.operations["blur"][1] == 2.0  # once in each of two views
    assert set(cost.operations) <= {"blur", "grey"}
    text = "\n".join(cost.lines())
    assert "images/s a core" in text
    assert "blur" in text


def test_figures_are_of_one_image_and_add_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the units: with a clock that ticks once a reading, five images a round take 200 ms each."""
    folder = photos(tmp_path / "photos", "a", count=5)
    ticks = count()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(ticks))
    cost = measure_views({"images": str(folder), "views": {"size": 16}, "count": 5, "rounds": 3})
    assert cost.whole == 200
    assert cost.images_per_second == 5
    assert [cost.stages[name] for name in ("read", "decode", "plan", "cut and resize")] == [200] * 4
    assert cost.stages["operations"] == 0  # as long with them as without
    assert {each for each, _ in cost.operations.values()} == {1000}
    assert "4 views of 16 px from simclr, randaugment" in cost.views


def test_shares_add_up_and_none_is_below_zero() -> None:
    """Guards stages whose medians, of different rounds, are together more than the whole."""
    stages = {"read": 1.0, "decode": 2.0}

    def shares(whole: float) -> list[int]:
        cost = ViewCost(num_images=1, views="", stages=stages, whole=whole, operations={})
        return [int(item) for item in re.findall(r"(-?\d+)%", "\n".join(cost.lines()))]

    assert shares(4.0) == [25, 50, 25]
    assert shares(2.5) == [40, 80, 0]


def test_views_that_only_crop_have_no_stage_below_zero(tmp_path: Path) -> None:
    """Guards the time of operations, which is a difference, where there are none."""
    views = {"layout": "simclr", "policies": ["weak"], "size": 16}
    cost = measure_views({"images": str(photos(tmp_path, "a", count=4)), "views": views})
    assert min(cost.stages.values()) >= 0


def test_size_is_that_of_a_run(tmp_path: Path) -> None:
    """Guards the advice on workers against views of another size than would be trained on."""
    folder = photos(tmp_path / "photos", "a", count=3, size=(200, 220))
    cost = measure_views({"images": str(folder), "count": 3, "rounds": 1})
    assert f"views of {96 if not torch.cuda.is_available() else 224} px" in cost.views


def test_workers_keep_up_with_the_step() -> None:
    """Guards the advice: rounded up, since half a worker is none."""
    cost = ViewCost(num_images=1, views="", stages={}, whole=4.0, operations={})
    assert cost.images_per_second == 250
    assert [cost.workers(speed) for speed in (100, 250, 251, 1000)] == [1, 1, 2, 4]


def test_folder_without_an_image_that_can_be_read_is_refused(tmp_path: Path) -> None:
    """Guards against a division by no images."""
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(DataError):
        measure_views({"images": str(tmp_path), "views": {"size": 16}})


def test_share_of_a_worker_beside_a_device_has_no_operations(tmp_path: Path) -> None:
    """Guards shares that add up to more than the whole."""
    folder = photos(tmp_path / "photos", "a", count=3)
    views = {"size": 16, "executor": "device"}
    cost = measure_views({"images": str(folder), "views": views, "count": 3, "rounds": 1})
    assert "operations" not in cost.stages
    assert cost.lines()[-1].startswith("the operations are executed on the device")
