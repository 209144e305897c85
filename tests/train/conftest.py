"""A run small enough for a test: rendered shapes, a small network, a few steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from massrl.commands.pretrain import pretrain
from massrl.config.parser import make_config
from massrl.train.session import PretrainResult


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Two cores, several test processes: more threads would only get in each other's way."""
    torch.set_num_threads(1)


def tiny(out: Path, **sections: dict[str, Any]) -> dict[str, Any]:
    """A configuration of ten steps of 8 images, changed section by section."""
    base: dict[str, dict[str, Any]] = {
        "data": {"train": "shapes(count=40,size=16)", "batch_size": 8, "workers": 0},
        "views": {"layout": "massrl-4", "size": 16},
        "method": {"name": "byol", "target_momentum": 0.9},
        "model": {
            "backbone": "resnet10-narrow",
            "projector": {"layers": 2, "hidden": 16, "out": 8},
            "predictor": {"layers": 2, "hidden": 16},
        },
        "optim": {"name": "lars", "lr": 2.0, "weight_decay": 1e-4, "warmup_epochs": 1},
        "train": {"max_steps": 10, "probe_every": 0, "accelerator": "cpu"},
    }
    merged = {key: {**base.get(key, {}), **sections.get(key, {})} for key in {*base, *sections}}
    return {**merged, "out": str(out)}


def quiet() -> Console:
    """A console that shows nothing."""
    return Console(quiet=True)


def run(out: Path, **sections: dict[str, Any]) -> PretrainResult:
    """Pre-train in a few seconds."""
    return pretrain(make_config(tiny(out, **sections)), console=quiet())
