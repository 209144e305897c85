"""What looks like a mistake is said when a run starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.train.conftest import run, tiny

from massrl.config.parser import make_config
from massrl.data.build import training_source
from massrl.train.startup import sanity_warnings

SOUND: dict[str, Any] = {"data": {"batch_size": 16}, "optim": {"lr": 1.0}}


def said(tmp_path: Path, **sections: dict[str, Any]) -> str:
    merged = {key: {**SOUND.get(key, {}), **sections.get(key, {})} for key in {*SOUND, *sections}}
    config = make_config(tiny(tmp_path / "run", **merged))
    return "\n".join(sanity_warnings(config, training_source(config.data)))


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({}, ""),
        ({"method": {"name": "simclr", "target_momentum": 0.0}}, ""),
        ({"optim": {"lr": 400.0}}, "rate in use is 25, far above what lars is used with"),
        ({"optim": {"name": "adamw", "lr": 0.9}}, "far above what adamw"),
        ({"optim": {"lr": 0.0}}, "nothing will be learned"),
        ({"train": {"accumulate": 2}}, "batch norm sees 8 images at a time"),
        ({"train": {"devices": 2}}, ""),  # statistics are those of both
        ({"method": {"target_momentum": 0.0}}, "the target is the online network itself"),
        ({"method": {"target_momentum": 1.0}}, "the target never moves"),
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
            "the views of an image do not differ at all",
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
def test_usual_mistakes_are_told_with_what_to_try(
    tmp_path: Path, sections: dict[str, dict[str, Any]], words: str
) -> None:
    """Guards each check, and sound runs against warnings that nobody would read any more."""
    text = said(tmp_path, **sections)
    assert (words in text) if words else text == ""
    assert not words or "--" in text


def test_images_that_are_all_the_same_are_told_in_the_log(tmp_path: Path) -> None:
    """Guards a folder of one picture, or of placeholders; and that doubts are said and not only had."""
    (tmp_path / "photos").mkdir()
    for number in range(16):
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), np.full((9, 9, 3), 80, np.uint8))
    data = {"train": str(tmp_path / "photos")}
    folder = run(tmp_path / "run", data=data, train={"max_steps": 1}).folder
    log = (folder / "log.txt").read_text(encoding="utf-8")
    assert "warning  the first 8 images are all the same: --data.train" in log
