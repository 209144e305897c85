"""A run that was cut off goes on to the same weights, bit for bit."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import Precision
from tests.train.conftest import quiet, run
from torch import Tensor

from massrl.commands.data import pack_data
from massrl.commands.pretrain import resume
from massrl.config.files import load_config
from massrl.data.loader import ViewBatch
from massrl.errors import CheckpointError, ConfigError, DataError, TrainingError
from massrl.runs.metrics import read_metrics
from massrl.train.checkpoint import load_checkpoint
from massrl.train.step import TrainingStep
from massrl.weights.load import load_backbone

EVERY_THIRD = {"checkpoint_every": 3}


class PowerCutError(Exception):
    """What a test does to a run."""


def grey_levels(folder: Path, *, first: int = 0, count: int = 16) -> Path:
    """Write small images of one grey level each into a folder."""
    folder.mkdir(exist_ok=True)
    for number in range(first, first + count):
        level = np.full((16, 16, 3), number * 9, np.uint8)
        cv2.imwrite(str(folder / f"{number:02}.png"), level)
    return folder


def cut_at(monkeypatch: pytest.MonkeyPatch, step: int, batch: int = 0) -> None:
    """Let the run die in this batch of this step, as a killed process does: nothing is saved."""
    original = TrainingStep._add_gradients

    def dying(self: TrainingStep, views: ViewBatch, part: int) -> None:
        if (self.step, part) == (step, batch):
            raise PowerCutError
        original(self, views, part)

    monkeypatch.setattr(TrainingStep, "_add_gradients", dying)


def weights(folder: Path) -> dict[str, Tensor]:
    """Everything a run ends with: networks, target and optimiser."""
    checkpoint = load_checkpoint(folder / "checkpoints" / "last.ckpt")
    flat = {f"method.{name}": tensor for name, tensor in checkpoint["method"].items()}
    for index, state in checkpoint["optimizer"]["state"].items():
        tensors = {key: item for key, item in state.items() if isinstance(item, Tensor)}
        flat |= {f"optimizer.{index}.{key}": item for key, item in tensors.items()}
    return flat


def assert_identical(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert different == []


@pytest.mark.parametrize(
    ("step", "batch", "sections"),
    [
        (1, 0, {"train": EVERY_THIRD}),  # before the first checkpoint: starts again
        (4, 0, {"train": EVERY_THIRD}),  # between checkpoints, in the first epoch
        (7, 1, {"train": {**EVERY_THIRD, "accumulate": 2}}),  # second epoch, inside a window
        (
            8,
            0,
            {
                "train": EVERY_THIRD,
                "method": {"name": "simclr"},
                "optim": {"name": "adamw", "lr": 0.01},
            },
        ),
    ],
)
def test_resumed_run_ends_with_the_weights_of_one_that_never_stopped(
    step: int, batch: int, sections: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards every piece of state: a forgotten momentum, counter, target or order shows in a bit."""
    run(tmp_path / "whole", **sections)
    with monkeypatch.context() as patch:
        cut_at(patch, step, batch)
        with pytest.raises(PowerCutError):
            run(tmp_path / "cut", **sections)
    result = resume(tmp_path / "cut", console=quiet())
    assert result.session.step == 10
    assert_identical(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    rows = [
        [
            (row["step"], row["loss"], row["lr"], row["tau"])
            for row in read_metrics(folder / "metrics.csv")
        ]
        for folder in (tmp_path / "whole", tmp_path / "cut")
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 10


def test_sigterm_finishes_the_step_saves_and_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against work lost to a scheduler, and against a handler left behind."""
    before = signal.getsignal(signal.SIGTERM)
    original = TrainingStep.__call__

    def signalling(self: TrainingStep, *arguments: Any) -> None:
        if self.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingStep, "__call__", signalling)
        stopped = run(tmp_path / "stopped")
    assert (stopped.session.step, stopped.session.stopped_by) == (5, "SIGTERM")
    assert signal.getsignal(signal.SIGTERM) is before
    run(tmp_path / "whole")
    assert resume(tmp_path / "stopped", console=quiet()).session.stopped_by is None
    assert_identical(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))


def test_saved_configuration_repeats_the_run(tmp_path: Path) -> None:
    """Guards ``--config runs/a/config.yaml``: a field that is not saved changes the weights."""
    from massrl.commands.pretrain import pretrain
    from massrl.config.files import read_config_file
    from massrl.config.parser import make_config

    first = run(
        tmp_path / "first", train={"seed": 3}, views={"policies": ["weak", "trivialaugment"]}
    )
    saved = read_config_file(first.folder / "config.yaml") | {"out": str(tmp_path / "second")}
    pretrain(make_config(saved), console=quiet())
    assert_identical(weights(tmp_path / "first"), weights(tmp_path / "second"))


def test_worker_processes_change_nothing(tmp_path: Path) -> None:
    """Guards §3's randomness: views drawn from a worker's own generator differ here."""
    run(tmp_path / "none", train={"max_steps": 4})
    run(tmp_path / "two", train={"max_steps": 4}, data={"workers": 2})
    assert_identical(weights(tmp_path / "none"), weights(tmp_path / "two"))


@pytest.mark.filterwarnings(
    "ignore:This DataLoader will create 4"
)  # more than this machine's cores
def test_images_are_the_same_from_files_memory_and_packed(tmp_path: Path) -> None:
    """Guards one meaning of an image, wherever it comes from and however many workers bring it."""
    photos = grey_levels(tmp_path / "photos")
    pack_data({"images": str(photos), "out": str(tmp_path / "set")}, console=quiet())
    files = run(tmp_path / "files", data={"train": str(photos), "cache": "none"})
    memory = run(tmp_path / "memory", data={"train": str(photos), "cache": "memory", "workers": 2})
    packed = run(tmp_path / "packed", data={"train": f"{tmp_path}/set-*.tar", "workers": 4})
    assert_identical(weights(files.folder), weights(memory.folder))
    assert_identical(weights(files.folder), weights(packed.folder))
    chosen = load_config(packed.folder / "config.yaml").data.cache
    assert chosen == "memory"  # small images, whatever they are read from


def test_device_executor_trains_a_run_that_goes_on_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards ``--views.executor device``: it must reach the step, with workers and after a resume."""
    views = {"executor": "device"}
    whole = run(tmp_path / "whole", views=views, data={"workers": 1})
    with monkeypatch.context() as patch:
        cut_at(patch, 5)
        with pytest.raises(PowerCutError):
            run(tmp_path / "cut", views=views, train=EVERY_THIRD)
    resume(tmp_path / "cut", console=quiet())
    assert_identical(weights(whole.folder), weights(tmp_path / "cut"))
    on_cpu = run(tmp_path / "cpu")
    first = [read_metrics(item.folder / "metrics.csv")[0] for item in (whole, on_cpu)]
    assert float(first[0]["loss"]) == pytest.approx(float(first[1]["loss"]), rel=1e-2)
    assert first[0]["loss"] != first[1]["loss"]  # two executors, which round otherwise


def test_run_in_a_folder_that_holds_one_is_refused(tmp_path: Path) -> None:
    """Guards a finished run against being written over."""
    run(tmp_path / "taken", train={"max_steps": 1})
    with pytest.raises(ConfigError, match="--resume"):
        run(tmp_path / "taken", train={"max_steps": 1})


def test_resume_of_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    """Guards against a new run under the name of an old one."""
    with pytest.raises(CheckpointError, match="--resume"):
        resume(tmp_path, console=quiet())


def test_loaded_backbone_gives_the_features_of_the_trained_one(tmp_path: Path) -> None:
    """Guards export: weights of the wrong network, or none at all, load as silently as the right."""
    result = run(tmp_path / "run", train={"max_steps": 3})
    backbone, untrained = (
        load_backbone(result.folder),
        load_backbone(result.folder, random_init=True),
    )
    trained = load_checkpoint(result.folder / "checkpoints" / "last.ckpt")["method"]
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, trained[f"backbone.{name}"])
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert backbone(images).shape == (2, 256)
    assert not torch.allclose(backbone(images), untrained(images))


@pytest.mark.parametrize("step", [0, 2])
def test_run_does_not_go_on_with_other_images(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards a resumed run against a folder to which images have been added, also before its first save."""
    photos = grey_levels(tmp_path / "photos")
    with monkeypatch.context() as patch:
        cut_at(patch, step)
        with pytest.raises(PowerCutError):
            run(tmp_path / "cut", data={"train": str(photos)}, train={"checkpoint_every": 1})
    grey_levels(photos, first=16, count=1)
    with pytest.raises(CheckpointError, match="not what the run was trained on"):
        resume(tmp_path / "cut", console=quiet())


def test_moved_run_goes_on_with_its_own_strategies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards a run folder against the place it was made in: strategies are named from where it lies."""
    mine = tmp_path / "mine.yaml"
    mine.write_text("operations: [{operation: invert, prob: 0.5}]\n")
    views = {"layout": "simclr", "policies": [str(mine)]}
    whole = run(tmp_path / "whole", views=views)
    with monkeypatch.context() as patch:
        cut_at(patch, 5)
        with pytest.raises(PowerCutError):
            run(tmp_path / "cut", views=views, train=EVERY_THIRD)
    mine.unlink()
    (tmp_path / "cut").rename(tmp_path / "moved")
    resume(tmp_path / "moved", console=quiet())
    assert_identical(weights(whole.folder), weights(tmp_path / "moved"))
    matrix = json.loads((whole.folder / "loss_matrix.json").read_text())
    assert matrix["views"] == ["1-mine · crop 1", "1-mine · crop 2"]


def test_run_goes_on_where_its_images_have_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards a run against being tied to a path, a number of workers or a kind of processor."""
    photos = grey_levels(tmp_path / "photos")
    whole = run(tmp_path / "whole", data={"train": str(photos)})
    with monkeypatch.context() as patch:
        cut_at(patch, 5)
        with pytest.raises(PowerCutError):
            run(tmp_path / "cut", data={"train": str(photos)}, train=EVERY_THIRD)
    photos.rename(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    before = load_config(tmp_path / "cut" / "config.yaml")
    data = replace(before.data, train="elsewhere", workers=1)
    train = replace(before.train, accelerator="auto", log_every=2)
    resume("cut", replace(before, data=data, train=train), console=quiet())
    assert_identical(weights(whole.folder), weights(tmp_path / "cut"))
    after = load_config(tmp_path / "cut" / "config.yaml")
    assert after.data.train == str(tmp_path / "elsewhere")
    assert after.train.accelerator == before.train.accelerator == "cpu"
    assert "from here on: --data.workers 1" in (tmp_path / "cut" / "log.txt").read_text()


def test_resume_with_what_would_make_it_another_run_is_refused(tmp_path: Path) -> None:
    """Guards one run under two meanings: the first half at one learning rate, the rest at another."""
    run(tmp_path / "run", train={"max_steps": 2})
    before = load_config(tmp_path / "run" / "config.yaml")
    other = replace(
        before,
        optim=replace(before.optim, lr=9.0),
        train=replace(before.train, seed=7, log_every=2),
    )
    with pytest.raises(ConfigError, match=r"--optim\.lr, --train\.seed would make it another"):
        resume(tmp_path / "run", other, console=quiet())
    assert load_config(tmp_path / "run" / "config.yaml") == before


def test_refused_resume_leaves_the_run_as_it_was(tmp_path: Path) -> None:
    """Guards a run folder against a mistyped path that is kept before it is opened."""
    run(tmp_path / "run", train={"max_steps": 2})
    before = load_config(tmp_path / "run" / "config.yaml")
    other = replace(before, data=replace(before.data, val="/no/such/folder"))
    with pytest.raises(DataError, match="/no/such/folder"):
        resume(tmp_path / "run", other, console=quiet())
    assert load_config(tmp_path / "run" / "config.yaml") == before
    with pytest.raises(DataError, match="/no/such/folder"):
        run(tmp_path / "new", data={"val": "/no/such/folder"})
    assert not (tmp_path / "new").exists()


def test_part_to_judge_by_is_not_opened_for_images_without_labels(tmp_path: Path) -> None:
    """Guards ``stl10:unlabelled`` and the like, whose other parts may not even be there."""
    folder = tmp_path / "split"
    (folder / "val").mkdir(parents=True)  # holds no images: opening it is an error
    grey_levels(folder / "train")
    result = run(tmp_path / "run", data={"train": str(folder)}, train={"probe_every": 1})
    assert result.session.step == 10


def test_scale_of_sixteen_bit_floats_survives_a_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards ``16-mixed``: a scaler that starts anew skips steps until it has found its scale again."""
    scales = []

    class Scaler(Precision):
        def __init__(self) -> None:
            self.scale = 65536.0

        def state_dict(self) -> dict[str, Any]:
            self.scale /= 2
            return {"scale": self.scale}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            scales.append(state["scale"])

    monkeypatch.setattr(
        "massrl.train.step.make_fabric",
        lambda *_: Fabric(accelerator="cpu", devices=1, plugins=[Scaler()]),
    )
    with monkeypatch.context() as patch:
        cut_at(patch, 7)
        with pytest.raises(PowerCutError):
            run(tmp_path / "cut", train=EVERY_THIRD)
    assert scales == []
    resume(tmp_path / "cut", console=quiet())
    assert scales == [16384.0]  # halved twice, by the checkpoints of steps 3 and 6


def test_full_disk_is_one_clear_error_and_keeps_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards what a full disk destroys: the checkpoint that was whole before it."""
    import errno

    original = os.fsync
    saved: list[str] = []

    def full(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        saved.extend([name] if "last.ckpt" in name else [])
        if len(saved) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        TrainingError, match="no space left on the disk; the previous one is intact"
    ):
        run(tmp_path / "run", train={"checkpoint_every": 2})
    checkpoints = tmp_path / "run" / "checkpoints"
    assert [path.name for path in checkpoints.iterdir()] == ["last.ckpt"]
    assert load_checkpoint(checkpoints / "last.ckpt")["step"] == 4
