"""Whole chains through the command line, in processes of their own, as a user runs them."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from massrl.train.checkpoint import load_checkpoint

TINY = [
    "--data.train=shapes(count=96,size=16)",
    "--data.batch_size=16",
    "--data.workers=1",
    "--views.size=16",
    "--model.backbone=resnet10-narrow",
    "--model.projector.hidden=16",
    "--model.projector.out=8",
    "--train.accelerator=cpu",
    "--train.probe_every=0",
]


def start(folder: Path, *arguments: str, **settings: Any) -> subprocess.Popen[str]:
    """Start ``massrl`` with these arguments in this folder."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    paths = [str(Path(path).resolve()) for path in sys.path if path]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    return subprocess.Popen(
        [sys.executable, "-m", "massrl", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )


def massrl(folder: Path, *arguments: str, code: int = 0) -> str:
    """Run ``massrl`` to its end and give what it printed."""
    process = start(folder, *arguments)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    return output + errors


def wait_for_saves(process: subprocess.Popen[str], file: Path, count: int) -> None:
    """Wait until a file has been written this many times."""
    seen: set[int] = set()
    deadline = time.monotonic() + 240
    while len(seen) < count and process.poll() is None and time.monotonic() < deadline:
        if file.exists():
            seen.add(file.stat().st_mtime_ns)
        time.sleep(0.005)


def test_run_killed_three_times_ends_with_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    """Guards resume against what really happens: ``kill -9``, from outside, at no chosen point."""
    settings = [*TINY, "--train.max_steps=40", "--train.checkpoint_every=3"]
    massrl(tmp_path, "pretrain", *settings, "--out=whole")
    command = ["pretrain", *settings, "--out=cut"]
    steps = []
    for kill in range(3):
        process = start(tmp_path, *command)
        wait_for_saves(process, tmp_path / "cut" / "checkpoints" / "last.ckpt", 3 if kill else 2)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "the run ended before it could be killed"
        steps.append(load_checkpoint(tmp_path / "cut" / "checkpoints" / "last.ckpt")["step"])
        command = ["pretrain", "--resume", "cut"]
    assert 0 < steps[0] < steps[1] < steps[2] < 40
    massrl(tmp_path, *command)
    whole, cut = (
        load_checkpoint(tmp_path / name / "checkpoints" / "last.ckpt") for name in ("whole", "cut")
    )
    assert whole["step"] == cut["step"] == 40
    assert all(torch.equal(tensor, cut["method"][name]) for name, tensor in whole["method"].items())
    backbones = [
        (tmp_path / name / "backbone.safetensors").read_bytes() for name in ("whole", "cut")
    ]
    assert backbones[0] == backbones[1]


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    """Guards the first thing anybody does to a long run."""
    process = start(
        tmp_path,
        "pretrain",
        *TINY,
        "--train.max_steps=4000",
        "--train.checkpoint_every=2",
        "--out=run",
    )
    wait_for_saves(process, tmp_path / "run" / "checkpoints" / "last.ckpt", 2)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "massrl pretrain --resume run" in output
    assert "Traceback" not in errors


def test_folder_of_photos_goes_from_images_to_an_evaluated_backbone(tmp_path: Path) -> None:
    """Guards the README's own chain: check, views, pretrain, evaluate; labels are optional."""
    generator = np.random.default_rng(0)
    for kind, level in (("dark", 40), ("bright", 200)):
        folder = tmp_path / "my photos" / kind
        folder.mkdir(parents=True)
        for number in range(20):
            noise = generator.integers(0, 50, (20, 24, 3))
            cv2.imwrite(str(folder / f"bild ä {number}.png"), (noise + level).astype(np.uint8))
    assert "40" in massrl(tmp_path, "data", "check", "my photos")
    massrl(
        tmp_path, "views", "my photos", "--out", "sheet.png", "--count", "3", "--views.size", "32"
    )
    assert cv2.imread(str(tmp_path / "sheet.png")) is not None
    output = massrl(
        tmp_path, "pretrain", "--data.train", "my photos", "--out", "run", "--train.epochs", "2"
    )
    assert "--views.size 20" in output
    output = massrl(tmp_path, "evaluate", "run", "--task", "knn,linear")
    assert "held out" in output
    results = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    assert results["tasks"]["linear"]["acc1"] == pytest.approx(100.0)
    assert results["tasks"]["knn"]["data"]["val"]["num_images"] == 8
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "backbone.safetensors",
        "checkpoints",
        "config.yaml",
        "data.json",
        "log.txt",
        "loss_matrix.json",
        "loss_matrix.png",
        "metrics.csv",
        "report.html",
        "results.json",
        "views.png",
    }


def test_demo_in_seconds_writes_all_that_it_promises(tmp_path: Path) -> None:
    """Guards the names that others rely on: results, report and sheet of the demonstration."""
    output = massrl(tmp_path, "demo", "--out", "runs/demo", "--seconds", "2")
    results = json.loads((tmp_path / "runs" / "demo" / "results.json").read_text(encoding="utf-8"))
    for task in ("knn", "linear"):
        assert set(results[task]) == {"random_init", "simclr", "massrl"}
        assert all(0 <= value <= 100 for value in results[task].values())
    assert results["seconds"] > 0
    for name in ("report.html", "views.png", "results.json"):
        assert (tmp_path / "runs" / "demo" / name).stat().st_size > 500
        assert name in output


def test_demo_deletes_nothing_that_it_did_not_make(tmp_path: Path) -> None:
    """Guards a folder of one's own that is called as a run of the demonstration is."""
    (tmp_path / "work" / "massrl").mkdir(parents=True)
    (tmp_path / "work" / "massrl" / "thesis.txt").write_text("years")
    output = massrl(tmp_path, "demo", "--out", "work", "--seconds", "2", code=2)
    assert "something else" in output
    assert (tmp_path / "work" / "massrl" / "thesis.txt").read_text() == "years"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["pretrain", "--data.train", "nowhere"], "--data.train"),
        (["pretrain", "--recipe", "shape-massrl"], "'shapes-massrl'"),
        (["pretrain", "--data.train", "shapes", "--data.batchsize", "3"], "'--data.batch_size'"),
        (["pretrain", "--data.train", "shapes", "--views.policies", "randaugmnt"], "'randaugment'"),
        (["evaluate", "nowhere"], "nowhere"),
        (["trian"], "unknown command"),
    ],
)
def test_mistake_is_one_line_and_exit_code_two(
    arguments: list[str], expected: str, tmp_path: Path
) -> None:
    """Guards against tracebacks for mistakes, and against messages without the way out."""
    output = massrl(tmp_path, *arguments, code=2)
    assert len(output.strip().splitlines()) == 1
    assert expected in output
    assert list(tmp_path.iterdir()) == []


def test_signal_to_the_whole_group_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    """Guards ``timeout``, systemd and schedulers, whose SIGTERM reaches the loader's processes too."""
    settings = [*TINY, "--train.max_steps=4000", "--train.checkpoint_every=2", "--out=run"]
    process = start(tmp_path, "pretrain", *settings, start_new_session=True)
    wait_for_saves(process, tmp_path / "run" / "checkpoints" / "last.ckpt", 2)
    os.killpg(process.pid, signal.SIGTERM)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 143, errors
    assert "massrl pretrain --resume run" in output
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["step"] >= 2


def test_disk_that_takes_no_checkpoint_is_one_line_and_the_last_one_stays(tmp_path: Path) -> None:
    """Guards against what torch's own writer makes of a full disk: a limit of the system, no mock."""
    settings = [*TINY, "--train.max_steps=4000", "--train.checkpoint_every=2", "--out=run"]
    process = start(tmp_path, "pretrain", *settings)
    wait_for_saves(process, tmp_path / "run" / "checkpoints" / "last.ckpt", 2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["step"]
    limit = (2 << 20, 2 << 20)  # bytes of any file; a checkpoint has about five times as many
    process = start(
        tmp_path,
        "pretrain",
        "--resume",
        "run",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 2, errors
    assert "last.ckpt: File too large; the previous one is intact" in errors.splitlines()[-1]
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["step"] == before
