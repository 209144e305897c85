"""Runs from start to end, and resumed ones that end with the same bits."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import photos
from tests.train.conftest import (
    EVERY_THIRD,
    PLAIN_MODEL,
    CrashError,
    assert_identical,
    column,
    copy_at,
    crash_at,
    grey_levels,
    quiet,
    run,
    signal_at,
    weights,
)

from massrl.commands.pretrain import pretrain, resume
from massrl.config.files import load_config, read_config_file
from massrl.config.parser import make_config
from massrl.errors import CheckpointError, ConfigError, DataError, TrainingError
from massrl.registry import LOGGERS
from massrl.runs.folder import RunFolder
from massrl.runs.metrics import read_metrics
from massrl.train.checkpoint import load_checkpoint
from massrl.train.loggers import RunLogger


def copied_run(out: Path, step: int, batch: int = 0, **sections: Any) -> tuple[Path, Path]:
    """Make a whole run; return its folder, and a copy of it as a crash at this batch would leave it."""
    with pytest.MonkeyPatch.context() as patch:
        copy_at(patch, step, batch, folder=out / "whole", to=out / "crashed")
        run(out / "whole", **sections)
    return out / "whole", out / "crashed"


LATE = {"max_steps": 7, **EVERY_THIRD}
RESUMED: dict[str, tuple[int, int, dict[str, Any]]] = {
    "before the first checkpoint": (1, 0, {"train": EVERY_THIRD}),
    "in the first epoch": (4, 0, {"train": EVERY_THIRD}),
    "in the second epoch, within an accumulated step": (
        *(7, 1),
        {"train": {**EVERY_THIRD, "accumulate": 2}},
    ),
    "simclr, adamw": (
        *(8, 0),
        {
            "train": EVERY_THIRD,
            "method": {"name": "simclr"},
            "optim": {"name": "adamw", "lr": 0.01},
        },
    ),
    "views made on the device": (5, 0, {"train": LATE, "views": {"executor": "device"}}),
    "directional, strengths rising": (
        *(5, 0),
        {
            "train": {**LATE, "accumulate": 2},
            "views": {"layout": "massrl-directional", "ramp_epochs": 2.0},
        },
    ),
    "target policy, mean of targets": (
        *(5, 0),
        {
            "train": LATE,
            "views": {"target_policy": "weak"},
            "method": {"target_reduction": "mean"},
        },
    ),
    "local crops, predictor per policy": (
        *(5, 0),
        {
            "train": LATE,
            "views": {"local_crops": 3, "local_size": 0.5},
            "model": {"predictor": {"layers": 2, "hidden": 16, "per_policy": True}},
        },
    ),
    "simclr, local crops": (
        *(5, 0),
        {"train": LATE, "views": {"local_crops": 2}, "method": {"name": "simclr"}},
    ),
}


@pytest.mark.parametrize("case", RESUMED)
def test_resumed_run_ends_with_the_bits_of_one_that_never_stopped(
    case: str, tmp_path: Path, finished: tuple[Path, Path]
) -> None:
    """Guards every part of the state and of the saved configuration, for every option of its own."""
    step, batch, sections = RESUMED[case]
    whole, crashed = copied_run(tmp_path, step, batch, **sections)
    losses = column(whole, "loss")
    steps = sections["train"].get("max_steps", 10)
    assert len(losses) == steps
    assert all(map(math.isfinite, losses))
    if set(sections) > {"train"}:  # the option has an effect
        assert losses[0] != column(finished[0], "loss")[0]
    saved = load_config(whole / "config.yaml").to_dict()
    for section, fields in sections.items():
        for name, value in fields.items():
            actual = saved[section][name]
            is_part = isinstance(value, dict) and actual.items() >= value.items()
            assert actual == value or is_part
    result = resume(crashed, console=quiet())
    assert result.session.step == steps
    assert_identical(weights(whole), weights(crashed))
    names = ("step", "loss", "lr", "tau")
    rows = [
        [[row[name] for name in names] for row in read_metrics(folder / "metrics.csv")]
        for folder in (whole, crashed)
    ]
    assert rows[0] == rows[1]


def test_crash_leaves_what_a_copy_of_the_folder_at_that_moment_has(
    tmp_path: Path, crashed: Path
) -> None:
    """Guards the tests of resume, which use such copies."""
    with pytest.MonkeyPatch.context() as patch:
        crash_at(patch, 5)
        with pytest.raises(CrashError):
            run(tmp_path / "other", train=EVERY_THIRD)
    assert_identical(weights(tmp_path / "other"), weights(crashed))
    files = [
        sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
        for folder in (tmp_path / "other", crashed)
    ]
    assert files[0] == files[1]


def test_two_executors_train_on_views_that_differ_by_rounding(
    tmp_path: Path, finished: tuple[Path, Path]
) -> None:
    """Guards ``--views.executor device``: it must reach the step, also through a worker process."""
    views, train = {"executor": "device"}, {"max_steps": 1}
    folder = run(tmp_path / "run", views=views, data={"workers": 1}, train=train).folder
    first, usual = column(folder, "loss")[0], column(finished[0], "loss")[0]
    assert first == pytest.approx(usual, rel=1e-2)
    assert first != usual


def test_saved_configuration_repeats_the_run(tmp_path: Path) -> None:
    """Guards ``--config runs/a/config.yaml``: a field that is not saved changes the weights."""
    train, views = {"seed": 3, "max_steps": 4}, {"policies": ["weak", "trivialaugment"]}
    first = run(tmp_path / "first", train=train, views=views).folder
    saved = read_config_file(first / "config.yaml") | {"out": str(tmp_path / "second")}
    pretrain(make_config(saved), console=quiet())
    assert_identical(weights(first), weights(tmp_path / "second"))


def test_selected_values_are_logged_and_saved(tmp_path: Path) -> None:
    """Guards ``None`` in a configuration: selected once, visible, and repeatable."""
    sections: dict[str, dict[str, Any]] = {
        "data": {"batch_size": None},
        "views": {"size": None, "layout": "massrl-paired"},
        "model": {"backbone": None},
    }
    folder = run(tmp_path / "run", **sections, train={"max_steps": 1}).folder
    saved = read_config_file(folder / "config.yaml")
    assert saved["data"]["batch_size"] == 8  # a quarter of 40 images, as a power of two
    assert saved["views"]["size"] == 16
    assert (saved["model"]["backbone"], saved["model"]["stem"]) == ("resnet10-narrow", "small")
    assert saved["method"]["pairs"] == "paired"
    log = (folder / "log.txt").read_text(encoding="utf-8")
    for flag in ("--data.batch_size 8", "--views.size 16", "--model.backbone", "--model.stem"):
        assert f"selected {flag}" in log


def test_probe_measures_knn_every_epoch_and_at_the_end(tmp_path: Path) -> None:
    """Guards the way of the probe into a run; rows that are rarer must not leave it out."""
    train = {"probe_every": 1, "max_steps": 9, "log_every": 100}
    folder = run(tmp_path / "run", train=train).folder
    probed = {row["step"]: row["knn"] for row in read_metrics(folder / "metrics.csv")}
    assert list(probed) == ["0", "4", "8"]
    assert probed["0"] == ""
    assert all(0 <= float(probed[step]) <= 100 for step in ("4", "8"))


def test_validation_images_are_not_opened_without_labels(tmp_path: Path) -> None:
    """Guards ``stl10:unlabelled`` and the like, whose other parts may not even exist."""
    folder = tmp_path / "split"
    (folder / "val").mkdir(parents=True)  # has no images: opening it is an error
    grey_levels(folder / "train")
    train = {"probe_every": 1, "max_steps": 2}
    result = run(tmp_path / "run", model=PLAIN_MODEL, data={"train": str(folder)}, train=train)
    assert result.session.step == 2


# ---------------------------------------------------------------- signals


def test_sigterm_finishes_the_step_saves_and_stops(
    tmp_path: Path, finished: tuple[Path, Path]
) -> None:
    """Guards against work lost to a scheduler, and against a handler left installed."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        signal_at(patch, 4)
        stopped = run(tmp_path / "stopped")
    assert (stopped.session.step, stopped.session.stopped_by) == (5, "SIGTERM")
    assert signal.getsignal(signal.SIGTERM) is before
    assert resume(tmp_path / "stopped", console=quiet()).session.stopped_by is None
    assert_identical(weights(finished[0]), weights(tmp_path / "stopped"))


def test_time_limit_signal_after_the_last_step_leaves_a_completed_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the results of a SLURM job: by default the signal would end the process that writes them."""
    sent: list[str] = []

    class Sending(RunLogger):
        """Sends the signal between the last step and the report, and at the very end."""

        def __init__(self, folder: RunFolder, record: str | None) -> None:
            pass

        def settings(self, values: dict[str, Any]) -> None:
            """Before the first step."""
            self.send("settings")

        def metrics(self, values: dict[str, float], step: int) -> None:
            """During training: nothing."""

        def picture(self, title: str, pixels: Any, step: int) -> None:
            """After the last step."""
            self.send(title)

        def close(self, status: str) -> None:
            """After everything is written."""
            self.send(status)

        def send(self, moment: str) -> None:
            """Send it, where that does not end the tests."""
            assert signal.getsignal(signal.SIGUSR1) != signal.SIG_DFL
            os.kill(os.getpid(), signal.SIGUSR1)
            sent.append(moment)

    monkeypatch.setitem(LOGGERS.parts, "mlflow", Sending)
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setattr("massrl.train.pretrain.requeue", lambda: sent.append("requeued"))
    train = {"max_steps": 2, "loggers": ["mlflow"]}
    result = run(tmp_path / "run", model=PLAIN_MODEL, train=train)
    assert (result.session.step, result.session.stopped_by) == (2, None)
    assert sent == ["settings", "views", "loss of every pair", "success"]
    assert (result.folder / "backbone.safetensors").is_file()
    assert (result.folder / "report.html").is_file()
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


@pytest.mark.parametrize(("step", "requeued"), [(1, True), (3, False)])
def test_time_limit_signal_requeues_the_job_unless_its_last_step_is_made(
    step: int, requeued: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards SLURM's queue against a job that has nothing left to do."""
    calls: list[int] = []
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setattr("massrl.train.pretrain.requeue", lambda: calls.append(1))
    signal_at(monkeypatch, step, signal.SIGUSR1)
    result = run(tmp_path / "run", model=PLAIN_MODEL, train={"max_steps": 4})
    assert calls == [1] * requeued
    assert result.session.stopped_by == ("SIGUSR1" if requeued else None)
    assert result.session.step == step + 1


# ---------------------------------------------------------------- what is refused


def test_training_without_images_names_the_missing_flag() -> None:
    """Guards the first mistake of every user."""
    with pytest.raises(ConfigError, match=r"--data\.train"):
        pretrain({"recipe": "default"}, console=quiet())


@pytest.mark.parametrize(
    ("sections", "error", "message"),
    [
        ({"data": {"batch_size": 4}, "train": {"accumulate": 4}}, ConfigError, "1 image at a time"),
        ({"data": {"val": "/no/such/folder"}}, DataError, "/no/such/folder"),
        ({"model": {"init_from": "/no/weights"}}, CheckpointError, "/no/weights"),
        ({"train": {"loggers": ["nosuch"]}}, ConfigError, r"--train\.loggers"),
    ],
)
def test_mistake_is_refused_before_anything_is_written(
    sections: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    """Guards against a folder of a run that never was."""
    with pytest.raises(error, match=message):
        run(tmp_path / "run", **sections)
    assert not (tmp_path / "run").exists()


def test_run_folder_inside_the_images_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards a resume that finds the run's own contact sheet among the images."""
    monkeypatch.chdir(photos(tmp_path / "photos", "a"))
    for out in ("", "mine"):
        with pytest.raises(ConfigError, match="choose another --out"):
            pretrain({"data": {"train": "."}, "out": out})


def test_folder_that_has_a_run_is_refused(completed: Path) -> None:
    """Guards a finished run against being overwritten."""
    with pytest.raises(ConfigError, match="--resume"):
        run(completed)


def test_resume_of_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    """Guards against a new run under the name of an old one."""
    with pytest.raises(CheckpointError, match="--resume"):
        resume(tmp_path, console=quiet())


@pytest.mark.parametrize("change", ["seed", "val"])
def test_refused_resume_leaves_the_run_as_it_was(change: str, completed: Path) -> None:
    """Guards a run folder against another run's settings, and against a mistyped path."""
    before = load_config(completed / "config.yaml")
    files = {path: path.stat().st_mtime_ns for path in completed.rglob("*") if path.is_file()}
    if change == "seed":
        other = replace(before, train=replace(before.train, seed=7))
        with pytest.raises(ConfigError, match=r"--train\.seed cannot change"):
            resume(completed, other, console=quiet())
    else:
        other = replace(before, data=replace(before.data, val="/no/such/folder"))
        with pytest.raises(DataError, match="/no/such/folder"):
            resume(completed, other, console=quiet())
    del files[completed / "log.txt"]
    assert all(path.stat().st_mtime_ns == time for path, time in files.items())
    assert load_config(completed / "config.yaml") == before


@pytest.mark.parametrize("step", [0, 2])
def test_run_is_not_resumed_with_other_images(step: int, tmp_path: Path) -> None:
    """Guards a run against images that were added, also before its first checkpoint."""
    folder = grey_levels(tmp_path / "photos")
    data, train = {"train": str(folder)}, {"checkpoint_every": 1, "max_steps": 3}
    _, crashed = copied_run(tmp_path, step, model=PLAIN_MODEL, data=data, train=train)
    grey_levels(folder, first=16, count=1)
    with pytest.raises(
        CheckpointError, match="differs from the images that the run was trained on"
    ):
        resume(crashed, console=quiet())


# ---------------------------------------------------------------- what a resume may change


def test_moved_run_is_resumed_with_its_own_policies(tmp_path: Path) -> None:
    """Guards a run folder against its old path: policy files are in it and relative to it."""
    mine = tmp_path / "mine.yaml"
    mine.write_text("operations: [{operation: invert, prob: 0.5}]\n")
    views = {"layout": "simclr", "policies": [str(mine)]}
    whole, crashed = copied_run(tmp_path, 5, model=PLAIN_MODEL, views=views, train=EVERY_THIRD)
    mine.unlink()
    crashed.rename(tmp_path / "moved")
    resume(tmp_path / "moved", console=quiet())
    assert_identical(weights(whole), weights(tmp_path / "moved"))
    matrix = json.loads((whole / "loss_matrix.json").read_text())
    assert matrix["views"] == ["1-mine · crop 1", "1-mine · crop 2"]


def test_run_is_resumed_where_its_images_were_moved_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards a run against being tied to a path, a number of workers or a kind of processor."""
    folder = grey_levels(tmp_path / "photos")
    data = {"train": str(folder)}
    whole, crashed = copied_run(tmp_path, 5, model=PLAIN_MODEL, data=data, train=EVERY_THIRD)
    folder.rename(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    before = load_config(crashed / "config.yaml")
    changed = replace(before.data, train="elsewhere", workers=1)
    train = replace(before.train, accelerator="auto", log_every=2)
    resume("crashed", replace(before, data=changed, train=train), console=quiet())
    assert_identical(weights(whole), weights(crashed))
    after = load_config(crashed / "config.yaml")
    assert after.data.train == str(tmp_path / "elsewhere")
    assert after.train.accelerator == before.train.accelerator == "cpu"
    assert "changed on resume: --data.workers 1" in (crashed / "log.txt").read_text()


def test_restarted_job_resumes_the_run_in_its_folder(
    crashed: Path, finished: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards launchers, which repeat the command of the start; without them it is refused."""
    config = replace(load_config(finished[0] / "config.yaml"), out=str(crashed))
    with pytest.raises(ConfigError, match="has a run already"):
        pretrain(config, console=quiet())
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert pretrain(config, console=quiet()).session.step == 10
    assert "resuming from step 3 of 10" in (crashed / "log.txt").read_text()
    assert_identical(weights(finished[0]), weights(crashed))


def test_full_disk_is_one_line_and_keeps_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards what a full disk destroys: the checkpoint that was complete before."""
    original, saved = os.fsync, []

    def full(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        saved.extend([name] if "last.ckpt" in name else [])
        if len(saved) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(descriptor)

    monkeypatch.setattr(os, "fsync", full)  # at the third checkpoint
    with pytest.raises(
        TrainingError, match="no space left on the disk; the previous one is intact"
    ):
        run(tmp_path / "run", model=PLAIN_MODEL, train={"checkpoint_every": 2})
    checkpoints = tmp_path / "run" / "checkpoints"
    assert [path.name for path in checkpoints.iterdir()] == ["last.ckpt"]
    assert load_checkpoint(checkpoints / "last.ckpt")["step"] == 4


def test_log_begins_with_what_was_opened_and_left_out(tmp_path: Path) -> None:
    """Guards images that are left out: at the start of a run, and of a resumed one."""
    images = tmp_path / "images"
    for part, seed in (("Train", 0), ("Test", 1)):
        photos(images / part, "a", "b", seed=seed)
        (images / part / "a" / "x.HEIC").write_bytes(b"x")
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        crash_at(patch, 2)
        with pytest.raises(CrashError):
            run(out, data={"train": str(images)}, train={"max_steps": 3})
    lines = [line[20:] for line in (out / "log.txt").read_text(encoding="utf-8").splitlines()]
    assert lines[0] == f"{images}: only Train/ is opened"
    assert lines[1].startswith("images/Train: images left out: 1 (.heic 1); only .jpg ")
    resume(out, console=quiet())
    text = (out / "log.txt").read_text(encoding="utf-8")
    assert text.count("images/Train: images left out: 1 (.heic 1)") == 2
