"""What is logged when a run starts: its settings, and warnings of likely mistakes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.train.conftest import PLAIN_MODEL, resolved, run, tiny

from massrl.config.parser import make_config
from massrl.data.build import training_source
from massrl.train.startup import log_config, sanity_warnings
from massrl.views.layouts import resolve_layout

USUAL: dict[str, Any] = {"data": {"batch_size": 16}, "optim": {"lr": 1.0}}


def warnings(tmp_path: Path, **sections: dict[str, Any]) -> str:
    merged = {key: {**USUAL.get(key, {}), **sections.get(key, {})} for key in {*USUAL, *sections}}
    config = make_config(tiny(tmp_path / "run", **merged))
    layout = resolve_layout(config.views)
    return "\n".join(sanity_warnings(config, training_source(config.data), layout=layout))


@pytest.mark.parametrize(
    ("sections", "warning"),
    [
        ({}, ""),
        ({"method": {"name": "simclr", "target_momentum": 0.0}}, ""),
        ({"optim": {"lr": 400.0}}, "learning rate is 25, far above the usual range of lars"),
        ({"optim": {"name": "adamw", "lr": 0.9}}, "far above the usual range of adamw"),
        ({"optim": {"lr": 0.0}}, "nothing will be learned"),
        ({"train": {"accumulate": 2}}, "statistics of 8 images at a time are noisy"),
        ({"train": {"devices": 2}}, ""),  # statistics are of both devices
        ({"method": {"target_momentum": 0.0}}, "the target equals the online network"),
        ({"method": {"target_momentum": 1.0}}, "the target is never updated"),
        ({"model": {"predictor": {"layers": 0}}}, "without a predictor BYOL collapses"),
        (
            {
                "views": {
                    "layout": "simclr",
                    "policies": ("weak",),
                    "crop_scale": (1.0, 1.0),
                    "flip_prob": 0.0,
                }
            },
            "the views of an image are identical",
        ),
        ({"views": {"layout": "simclr", "policies": ("weak",)}}, ""),
        (
            {
                "views": {
                    "layout": "simclr",
                    "policies": ("weak",),
                    "crop_scale": (1.0, 1.0),
                    "flip_prob": 0.0,
                    "target_policy": "simclr",
                }
            },
            "",
        ),
    ],
)
def test_likely_mistakes_are_warned_of_with_a_suggestion(
    tmp_path: Path, sections: dict[str, dict[str, Any]], warning: str
) -> None:
    """Guards each check, and usual runs against warnings that users would learn to ignore."""
    text = warnings(tmp_path, **sections)
    assert (warning in text) if warning else text == ""
    assert not warning or "--" in text


def test_identical_images_are_warned_of_in_the_log(tmp_path: Path) -> None:
    """Guards a folder of one picture, or of placeholders; and that warnings reach the log."""
    (tmp_path / "photos").mkdir()
    for number in range(16):
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), np.full((9, 9, 3), 80, np.uint8))
    data = {"train": str(tmp_path / "photos")}
    folder = run(tmp_path / "run", model=PLAIN_MODEL, data=data, train={"max_steps": 1}).folder
    log = (folder / "log.txt").read_text(encoding="utf-8")
    assert "warning  the first 8 images are identical: check --data.train" in log


def test_broken_images_are_left_to_the_training(tmp_path: Path, write: Any) -> None:
    """Guards the check against reporting what ``--data.on_error`` decides."""
    for number in range(3):
        write(tmp_path / "photos" / f"{number}.png", seed=7)
    (tmp_path / "photos" / "broken.png").write_bytes(b"no picture")
    text = warnings(tmp_path, data={"train": str(tmp_path / "photos"), "batch_size": 2})
    assert "images are identical" in text


def test_log_has_every_setting_and_selected_value(caplog: pytest.LogCaptureFixture) -> None:
    """Guards the first lines of a run: scaled learning rate, batch and views as they are used."""
    config = resolved(train={"accumulate": 2, "max_steps": 12})
    with caplog.at_level(logging.INFO, logger="massrl"):
        notes = ["--data.workers 3: 4 CPU cores"]
        log_config(config, training_source(config.data), notes, layout=resolve_layout(config.views))
    lines = dict(message.split(maxsplit=1) for message in caplog.messages)
    assert list(lines) == [
        *("recipe", "run", "data", "views", "method", "model", "batch", "lr", "train"),
        "selected",
    ]
    assert lines["data"] == "shapes/train: 40 images, 10 classes"
    assert lines["views"].startswith("massrl-4: 4 views of 16 px from simclr, randaugment(2,9)")
    assert lines["method"].startswith("BYOL, τ 0.9 → 1")
    assert lines["batch"] == "8 unique images = 4 × 1 device × 2 accumulated"
    assert lines["lr"] == "0.0625 = 2 × 8 / 256, lars, weight decay 0.0001"
    assert lines["train"] == "12 steps on cpu, 32-true, streamed memory, seed 0"
    assert lines["selected"] == "--data.workers 3: 4 CPU cores"


def test_log_of_a_run_by_time_has_its_duration(caplog: pytest.LogCaptureFixture) -> None:
    """Guards runs whose steps are not counted yet, on several devices and without labels."""
    config = resolved(train={"max_steps": None, "time_budget": 90.0, "devices": 2})
    source = training_source(config.data)
    source.labels = None
    with caplog.at_level(logging.INFO, logger="massrl"):
        log_config(config, source, [], layout=resolve_layout(config.views))
    assert "about 1 min 30 s on cpu" in caplog.text
    assert "4 × 2 devices × 1 accumulated" in caplog.text
    assert "no labels" in caplog.text
