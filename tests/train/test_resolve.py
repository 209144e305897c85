"""Values that are selected for open fields, and what may change on resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.train.conftest import resolved, tiny

from massrl.config.parser import make_config
from massrl.config.pretrain import Config
from massrl.data.source import Source
from massrl.errors import ConfigError
from massrl.runs.environment import Hardware, detect_hardware
from massrl.train.resolve import (
    changed_fields,
    make_schedule,
    resolve_config,
    resolve_resumed,
)
from massrl.views.layouts import resolve_layout

OPEN: dict[str, dict[str, Any]] = {
    "data": {"batch_size": None, "workers": None},
    "views": {"size": None},
    "model": {"backbone": None},
}


class Images(Source):
    """So many grey images of one size."""

    name = "grey"

    def __init__(self, count: int, side: int) -> None:
        self._count = count
        self._file = cv2.imencode(".png", np.zeros((side, side, 3), np.uint8))[1].tobytes()

    def __len__(self) -> int:
        return self._count

    def read(self, index: int) -> bytes:
        """Return the one file."""
        return self._file

    def describe(self, index: int) -> str:
        """Return its name."""
        return str(index)

    def fingerprint(self) -> str:
        """Return the same for all."""
        return "0" * 16


CPU = replace(detect_hardware("cpu"), cores=4)
GPU = replace(CPU, accelerator="gpu", name="a GPU")


def resolve(
    count: int, side: int, hardware: Hardware, **sections: dict[str, Any]
) -> tuple[Config, list[str]]:
    merged = {key: {**OPEN.get(key, {}), **sections.get(key, {})} for key in {*OPEN, *sections}}
    config = make_config(tiny(Path("unused"), **merged))
    return resolve_config(config, Images(count, side), hardware)


@pytest.mark.parametrize(
    ("count", "side", "hardware", "expected"),
    [
        # batch size, view size, backbone, executor, precision, workers
        (40, 16, CPU, (8, 16, "resnet10-narrow", "cpu", "32-true", 3)),
        (50_000, 32, CPU, (256, 32, "resnet10-narrow", "cpu", "32-true", 3)),
        (50_000, 200, CPU, (64, 96, "resnet18", "cpu", "32-true", 3)),
        (50_000, 200, GPU, (256, 224, "resnet50", "device", "bf16-mixed", 3)),
    ],
)
def test_open_values_fit_the_images_and_the_hardware(
    count: int, side: int, hardware: Hardware, expected: tuple[Any, ...]
) -> None:
    """Guards the defaults for a user who names only a folder."""
    config, _ = resolve(count, side, hardware)
    selected = (
        *(config.batch_size, config.view_size, config.model.backbone),
        *(config.views.executor, config.train.precision, config.data.workers),
    )
    assert selected == expected


VIT = {"backbone": "vit_tiny_patch16_224", "stem": "auto"}


@pytest.mark.parametrize(
    ("side", "views", "expected"),
    [
        (40, {}, (48, 0.0, [])),  # no local crops: their size is left alone
        (40, {"local_crops": 2}, (48, 0.3333, [48, 16])),
        (32, {"local_crops": 2}, (32, 0.5, [32, 16])),
        (16, {"local_crops": 2}, (16, 1.0, [16, 16])),
        (200, {"local_crops": 2, "size": 224}, (224, 3 / 7, [224, 96])),
        (200, {"local_crops": 2, "size": 64}, (64, 0.5, [64, 32])),
        (200, {"local_crops": 2, "size": 70, "local_size": 0.3}, (70, 0.3, [70, 21])),
    ],
)
def test_open_sizes_of_views_are_whole_patches(
    side: int, views: dict[str, Any], expected: tuple[int, float, list[int]]
) -> None:
    """Guards local crops with a ViT by default; sizes that the user sets are never changed. By hand."""
    config, notes = resolve(50, side, CPU, model=VIT, views=views)
    size, local, sides = expected
    assert config.view_size == size
    layout = resolve_layout(config.views)
    if layout.local_crops:
        assert layout.local_size == pytest.approx(local, abs=0.05)
        assert [layout.sides(size)[0], layout.sides(size)[-1]] == sides
    noted = any("--views.local_size" in note for note in notes)
    assert noted == (bool(sides) and "local_size" not in views and sides[1] != round(3 / 7 * size))


def test_every_selected_value_has_a_note_and_a_configured_one_has_none() -> None:
    """Guards the log: what was selected for the user must be visible, with its reason."""
    _, notes = resolve(40, 16, CPU, data={"cache": "none"})
    flags = [note.split()[0] for note in notes]
    assert flags == ["--views.size", "--model.backbone", "--data.batch_size", "--data.workers"]
    assert notes[2] == f"--data.batch_size 8: for 40 images on {CPU.name}"
    config = make_config(tiny(Path("unused"), data={"cache": "none"}))
    assert resolve_config(config, Images(40, 16), CPU)[1] == []


def test_limit_beyond_the_images_is_noted() -> None:
    """Guards a run that trains on fewer images than its configuration has."""
    _, notes = resolve(40, 16, CPU, data={"limit": 5000})
    assert "all 40 images: --data.limit 5,000 is larger" in notes


def test_pairs_are_those_of_the_layout_unless_configured() -> None:
    """Guards layouts with pairs of their own."""
    assert resolved(views={"layout": "massrl-paired"}).method.pairs == "paired"
    views, method = {"layout": "massrl-paired"}, {"pairs": "all"}
    assert resolved(views=views, method=method).method.pairs == "all"


@pytest.mark.parametrize(
    ("method", "memory"),
    [
        ({"name": "byol"}, "streamed"),
        ({"name": "byol", "batch_norm": "joint"}, "joint"),
        ({"name": "simclr"}, "joint"),
    ],
)
def test_views_are_streamed_where_that_costs_nothing(method: dict[str, Any], memory: str) -> None:
    """Guards memory of the default, and the time of objectives that compute streamed views twice."""
    assert resolved(method=method).train.memory == memory
    assert resolved(train={"memory": "joint"}).train.memory == "joint"


@pytest.mark.parametrize(
    ("length", "steps", "budget"),
    [
        ({}, 500, None),  # 100 epochs of 5 steps
        ({"epochs": 3.0}, 15, None),
        ({"epochs": 0.1}, 1, None),
        ({"max_steps": 7, "epochs": 3.0}, 7, None),
        ({"max_steps": 70, "epochs": 3.0}, 15, None),
        ({"time_budget": 60.0}, None, 60.0),
        (
            {"max_steps": 7, "time_budget": 60.0},
            7,
            60.0,
        ),  # the budget is planned for, see test_budget
        ({"epochs": 3.0, "time_budget": 60.0}, 15, 60.0),
    ],
)
def test_first_length_that_is_reached_ends_the_run(
    length: dict[str, Any], steps: int | None, budget: float | None
) -> None:
    """Guards against a length that is given and ignored: every pair of the three, and none at all."""
    train = resolved(train={"max_steps": None, **length}).train
    assert (train.max_steps, train.time_budget, train.epochs) == (steps, budget, None)


def test_length_that_is_not_reached_is_named() -> None:
    """Guards the user of two lengths: which of them ended the run is said before it starts."""
    (note,) = [
        line
        for line in resolve(40, 16, CPU, train={"epochs": 2.0, "max_steps": 900})[1]
        if "reached first" in line
    ]
    assert note.startswith("--train.epochs is reached first")
    assert "--train.max_steps 900" in note


def test_small_images_are_cached_in_memory_by_default() -> None:
    """Guards throughput on small images, and memory on large ones."""
    config, notes = resolve(40, 16, CPU)
    assert config.data.cache == "memory"
    assert "--data.cache memory: 40 images of about 16 px" in notes
    assert resolve(50_000, 200, CPU)[0].data.cache == "none"
    assert resolve(40, 16, CPU, data={"cache": "none"})[0].data.cache == "none"


def test_single_image_at_a_time_is_refused() -> None:
    """Guards batch norm, which needs two images, against an accumulation that leaves one."""
    with pytest.raises(
        ConfigError, match=r"--data.batch_size is 4: divided by 4 .* 1 image at a time"
    ):
        resolved(data={"batch_size": 4}, train={"accumulate": 4})


def test_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards a saved configuration against the folder that it was made in."""
    monkeypatch.chdir(tmp_path)
    config = make_config(tiny(tmp_path, data={"train": "photos", "val": "others", "root": "sets"}))
    data = resolve_config(config, Images(40, 16), CPU)[0].data
    expected = [str(tmp_path / name) for name in ("photos", "others", "sets")]
    assert [data.train, data.val, data.root] == expected


def test_schedule_warms_up_for_the_configured_epochs_and_a_tenth_at_most() -> None:
    """Guards short runs against a warm-up that is all there is."""
    config = resolved(train={"max_steps": 100}, optim={"warmup_epochs": 1})
    schedule = make_schedule(config, 5)
    assert (schedule.warmup_steps, schedule.total_steps) == (5, 100)
    assert (schedule.peak_lr, schedule.target_momentum) == (2.0 * 8 / 256, 0.9)
    assert make_schedule(config, 50).warmup_steps == 10


def test_fields_that_differ_are_listed_with_the_new_value() -> None:
    """Guards the log of a resume."""
    before = resolved()
    after = replace(before, train=replace(before.train, log_every=3, seed=1))
    assert changed_fields(before, after) == {"train.log_every": 3, "train.seed": 1}
    assert changed_fields(before, before) == {}


def test_resume_with_another_rate_or_seed_is_refused() -> None:
    """Guards one run under two meanings: the first half at one learning rate, the rest at another."""
    before = resolved()
    other = replace(
        before,
        optim=replace(before.optim, lr=9.0),
        train=replace(before.train, seed=7, log_every=2),
    )
    with pytest.raises(ConfigError, match=r"--optim\.lr, --train\.seed cannot change.*log_every"):
        resolve_resumed(before, other)


def test_resume_keeps_what_auto_had_resolved_to() -> None:
    """Guards a resumed run against another cache than before."""
    before = resolved(data={"cache": "memory"})
    after = replace(before, data=replace(before.data, cache="auto"))
    assert resolve_resumed(before, after).data.cache == "memory"


def test_resume_on_too_many_devices_is_refused() -> None:
    """Guards batch norm, which needs two images on each device."""
    before = resolved()
    after = replace(before, train=replace(before.train, devices=8))
    with pytest.raises(ConfigError, match=r"--data.batch_size is 8: divided by .* 1 image"):
        resolve_resumed(before, after)
