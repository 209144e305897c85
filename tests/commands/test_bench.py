"""Measurements of views and steps, as a user asks for them."""

from __future__ import annotations

import re

import pytest

from massrl.cli import main
from massrl.commands.bench import BenchViewsConfig, measure_step, measure_views
from massrl.errors import ConfigError

IMAGES = "shapes(count=4,size=16)"
STEP = {
    "data": {"train": "shapes(count=32,size=16)", "batch_size": 8, "workers": 0},
    "views": {"layout": "byol", "size": 16},
    "model": {
        "backbone": "resnet10-tiny",
        "projector": {"hidden": 16, "out": 8},
        "predictor": {"hidden": 16},
    },
    "train": {"max_steps": 3, "accelerator": "cpu"},
}


def test_views_are_measured_on_the_images_that_are_given() -> None:
    """Guards the count: more images than there are cannot be measured."""
    cost = measure_views({"images": IMAGES, "count": 9, "rounds": 1, "views": {"layout": "byol"}})
    assert cost.num_images == 4
    assert cost.workers(1.0) >= 1


def test_views_without_images_are_refused() -> None:
    """Guards the current folder against being measured."""
    with pytest.raises(ConfigError, match="no images"):
        measure_views({})


@pytest.mark.parametrize("field", ["count", "rounds", "images_per_second"])
def test_number_below_one_is_refused(field: str) -> None:
    """Guards a mean over nothing."""
    with pytest.raises(ConfigError, match=f"--{field} is 0, but 1 or more"):
        BenchViewsConfig(**{field: 0})


def test_command_for_views_prints_the_workers_that_a_step_needs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Guards the number that a user copies into ``--data.workers``."""
    words = ["--count=2", "--rounds=1", "--views.size=16", "--images_per_second=50"]
    assert main(["bench", "views", IMAGES, *words]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{IMAGES}: 2 images, ")
    assert re.search(r"A step of 50 images/s needs --data\.workers \d+\n$", out)


def test_step_is_measured_by_its_configuration() -> None:
    """Guards the batch and the views that a measurement speaks of."""
    cost = measure_step(STEP)
    assert (cost.batch_size, cost.num_views) == (8, 2)
    assert cost.step > 0


def test_command_for_steps_takes_the_flags_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Guards ``massrl bench step`` with the flags of the run it is to be about."""
    words = [
        "--data.train=shapes(count=32,size=16)",
        "--data.batch_size=8",
        "--data.workers=0",
        "--views.layout=simclr",
        "--views.size=16",
        "--model.backbone=resnet10-tiny",
        "--train.max_steps=3",
        "--train.accelerator=cpu",
    ]
    assert main(["bench", "step", *words]) == 0
    assert capsys.readouterr().out.startswith("a step of 8 images, 2 views of each\n")
