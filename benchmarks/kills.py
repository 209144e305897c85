"""A run killed at random moments and gone on with, a hundred times: the figures of ``results/kills.md``.

    python benchmarks/kills.py [--kills 100] [--at_once 2]

A small run of BYOL on rendered shapes, with a loader process, accumulation and a checkpoint every third
step, is started anew for every kill; ``kill -9`` meets the whole process group somewhere between its
first file and its last step. Then it is gone on with until it is complete. The weights it ends with,
target and optimiser included, are compared bit for bit with those of a run that nothing happened to.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from massrl.errors import CheckpointError
from massrl.runs.environment import detect_hardware, environment_info
from massrl.train.checkpoint import load_checkpoint

RESULTS = Path(__file__).parent / "results" / "kills.md"
STEPS = 40
FLAGS = {
    "--data.train": "shapes(count=96,size=32)",
    "--data.batch_size": "32",
    "--data.workers": "1",
    "--model.backbone": "resnet10-tiny",
    "--model.projector.hidden": "16",
    "--model.projector.out": "8",
    "--model.predictor.hidden": "16",
    "--method.name": "byol",
    "--optim.name": "lars",
    "--optim.lr": "1.0",
    "--train.max_steps": str(STEPS),
    "--train.accumulate": "2",
    "--train.checkpoint_every": "3",
    "--train.probe_every": "0",
    "--train.accelerator": "cpu",
}


class TaskResult(NamedTuple):
    """What came of one kill.

    Attributes:
        rows: rows of ``metrics.csv`` when it was killed.
        readable: whether the checkpoint there was, if any, could be read.
        complete: whether going on ended well.
        different: tensors that differ from the run that nothing happened to.
    """

    rows: int
    readable: bool
    complete: bool
    different: list[str]


def start(words: list[str]) -> subprocess.Popen[bytes]:
    """A run in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "massrl", "pretrain", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def new_run(folder: Path) -> list[str]:
    """Its command line."""
    return [*(word for pair in FLAGS.items() for word in pair), "--out", str(folder)]


def state(folder: Path) -> dict[str, Any]:
    """Everything that a run ends with, by name."""
    content = load_checkpoint(folder / "checkpoints" / "last.ckpt")
    tensors = {f"method.{name}": item for name, item in content["method"].items()}
    for index, kept in content["optimizer"]["state"].items():
        tensors |= {f"optimizer.{index}.{name}": item for name, item in kept.items()}
    return {**tensors, "step": torch.tensor(content["step"])}


def one_kill(folder: Path, *, after: float, expected: dict[str, Any]) -> TaskResult:
    """Start, kill ``after`` seconds from the first file on, go on, compare."""
    process = start(new_run(folder))
    while not (folder / "config.yaml").is_file():
        time.sleep(0.005)
    time.sleep(after)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    metrics = folder / "metrics.csv"
    rows = len(metrics.read_text(encoding="utf-8").splitlines()) - 1 if metrics.is_file() else 0
    readable = True
    if (folder / "checkpoints" / "last.ckpt").is_file():
        try:
            state(folder)
        except CheckpointError:
            readable = False
    complete = start(["--resume", str(folder)]).wait() == 0
    ours = state(folder) if complete else {}
    different = [
        name
        for name, item in expected.items()
        if name not in ours or not torch.equal(torch.as_tensor(ours[name]), torch.as_tensor(item))
    ]
    return TaskResult(rows, readable, complete, different)


def main() -> None:
    """Kill, go on, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--at_once", type=int, default=2)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        whole = Path(root) / "whole"
        process = start(new_run(whole))
        while not (whole / "config.yaml").is_file():
            time.sleep(0.005)
        begin = time.monotonic()
        assert process.wait() == 0
        seconds = time.monotonic() - begin
        expected = state(whole)
        moments = np.random.default_rng(0).uniform(0, seconds, wanted.kills)
        with ThreadPoolExecutor(wanted.at_once) as pool:
            work = [
                pool.submit(one_kill, Path(root) / str(number), after=moment, expected=expected)
                for number, moment in enumerate(moments)
            ]
            outcomes = [item.result() for item in work]
    rows = [outcome.rows for outcome in outcomes]
    about = environment_info(detect_hardware("cpu").name)
    versions = ", ".join(f"{name} {version}" for name, version in about["software"].items())
    lines = [
        "# Kills",
        "",
        f"`python benchmarks/kills.py --kills {wanted.kills} --at_once {wanted.at_once}`; commit "
        f"{about['commit']}; {about['hardware']}; {versions}.",
        "",
        "| | |",
        "|---|---|",
        f"| runs killed at a random moment by `kill -9`, each gone on with | {len(outcomes)} |",
        f"| steps made when it came, of {STEPS}: least, median, most | {min(rows)}, "
        f"{statistics.median(rows):.0f}, {max(rows)} |",
        f"| checkpoints that could not be read | {sum(not item.readable for item in outcomes)} |",
        f"| runs that did not go on to their end | {sum(not item.complete for item in outcomes)} |",
        f"| runs whose last weights, target or optimiser differ in any bit from the run that nothing "
        f"happened to | {sum(bool(item.different) for item in outcomes)} |",
    ]
    text = "\n".join(lines) + "\n"
    RESULTS.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
