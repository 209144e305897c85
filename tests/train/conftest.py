"""Runs and steps small enough for a test: rendered shapes, a small network, a few steps."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from massrl.commands.pretrain import pretrain
from massrl.config.parser import make_config
from massrl.config.pretrain import Config
from massrl.data.build import normalization_of, training_source
from massrl.data.loader import ViewBatch, steps_per_epoch
from massrl.distributed import World
from massrl.methods.base import Method
from massrl.runs.environment import detect_hardware
from massrl.runs.metrics import read_metrics
from massrl.train.checkpoint import load_checkpoint
from massrl.train.initialize import make_method
from massrl.train.resolve import make_schedule, resolve_config
from massrl.train.session import PretrainResult, make_loader, make_run_views
from massrl.train.step import TrainingStep

EVERY_THIRD = {"checkpoint_every": 3}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Two cores, several test processes: more threads would only compete."""
    torch.set_num_threads(1)


class CrashError(Exception):
    """The crash of ``crash_at``."""


def tiny(out: Path, **sections: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration of ten steps of 8 images, changed section by section."""
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
    """Return a console that shows nothing."""
    return Console(quiet=True)


def run(out: Path, **sections: dict[str, Any]) -> PretrainResult:
    """Pre-train in a few seconds."""
    return pretrain(make_config(tiny(out, **sections)), console=quiet())


def resolved(**sections: dict[str, Any]) -> Config:
    """Return the tiny configuration with every value selected."""
    config = make_config(tiny(Path("unused"), **sections))
    return resolve_config(config, training_source(config.data), detect_hardware("cpu"))[0]


def make_step(
    method: Method | None = None, *, world: World | None = None, **sections: dict[str, Any]
) -> tuple[TrainingStep, Iterator[ViewBatch]]:
    """Return the training state of a tiny run that has no folder, and its batches."""
    config, place = resolved(**sections), world or World()
    source = training_source(config.data)
    maker = make_run_views(config)
    step = TrainingStep(
        method or make_method(config, maker.layout),
        config=config,
        layout=maker.layout,
        schedule=make_schedule(config, steps_per_epoch(len(source), config.batch_size)),
        normalization=normalization_of(config, source),
        world=place,
    )
    loader = make_loader(config, source, maker, start_step=0, world=place)
    return step, iter(loader)


def plain_network() -> nn.Module:
    """Return a backbone without batch norm, whose gradients do not depend on how a batch is split."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 12))
    network.num_features = 12  # type: ignore[assignment]
    return network


PLAIN_MODEL = {
    "backbone": f"{__name__}:plain_network",
    "projector": {"layers": 1, "hidden": 8, "out": 8},
    "predictor": {"layers": 1, "hidden": 8},
}
"""A ``model`` section without batch norm, the fastest there is."""


def column(folder: Path, name: str) -> list[float]:
    """Return a column of a run's metrics."""
    return [float(row[name]) for row in read_metrics(folder / "metrics.csv")]


def weights(folder: Path) -> dict[str, Tensor]:
    """Return every tensor of a run's last checkpoint: networks, target and optimiser."""
    checkpoint = load_checkpoint(folder / "checkpoints" / "last.ckpt")
    flat = {f"method.{name}": tensor for name, tensor in checkpoint["method"].items()}
    for index, state in checkpoint["optimizer"]["state"].items():
        tensors = {key: item for key, item in state.items() if isinstance(item, Tensor)}
        flat |= {f"optimizer.{index}.{key}": item for key, item in tensors.items()}
    return flat


def assert_identical(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    """Assert that two runs have the same tensors, bit for bit."""
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert different == []


def crash_at(patch: pytest.MonkeyPatch, step: int, batch: int = 0) -> None:
    """Let a run crash at this batch of this step, without a chance to save."""
    original = TrainingStep._add_gradients

    def crash(self: TrainingStep, views: ViewBatch, part: int) -> None:
        if (self.step, part) == (step, batch):
            raise CrashError
        original(self, views, part)

    patch.setattr(TrainingStep, "_add_gradients", crash)


def copy_at(patch: pytest.MonkeyPatch, step: int, batch: int, *, folder: Path, to: Path) -> None:
    """Copy a run's folder at this batch of this step: what a crash there would leave."""
    original = TrainingStep._add_gradients

    def copy(self: TrainingStep, views: ViewBatch, part: int) -> None:
        if (self.step, part) == (step, batch) and not to.exists():
            shutil.copytree(folder, to)
        original(self, views, part)

    patch.setattr(TrainingStep, "_add_gradients", copy)


def signal_at(patch: pytest.MonkeyPatch, step: int, number: int = signal.SIGTERM) -> None:
    """Send this process a signal at the beginning of a step."""
    original = TrainingStep.__call__

    def send(self: TrainingStep, batches: Iterator[ViewBatch]) -> None:
        if self.step == step:
            os.kill(os.getpid(), number)
        original(self, batches)

    patch.setattr(TrainingStep, "__call__", send)


def grey_levels(folder: Path, *, first: int = 0, count: int = 16) -> Path:
    """Write small images of one grey level each into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        level = np.full((16, 16, 3), number * 9, np.uint8)
        cv2.imwrite(str(folder / f"{number:02}.png"), level)
    return folder


def folder_with_a_broken_image(folder: Path) -> Path:
    """Write nine images of noise and one file that is no image into a folder."""
    folder.mkdir(parents=True)
    for number in range(9):
        image = np.random.default_rng(number).integers(0, 256, (20, 20, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), image)
    (folder / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny run with a checkpoint every third step, and its copy from within step 5: not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        copy_at(patch, 5, 0, folder=folder / "run", to=folder / "crashed")
        run(folder / "run", train=EVERY_THIRD)
    return folder / "run", folder / "crashed"


@pytest.fixture
def crashed(finished: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of a tiny run that crashed in step 5, with its last checkpoint after step 3."""
    return Path(shutil.copytree(finished[1], tmp_path / "crashed"))


@pytest.fixture
def completed(finished: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of a tiny run that completed its ten steps."""
    return Path(shutil.copytree(finished[0], tmp_path / "completed"))
