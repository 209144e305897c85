"""A hundred runs killed at random moments and resumed: the table of ``results/kills.md``.

    python benchmarks/kills.py [--kills 100] [--at_once 2]

A small BYOL run on rendered shapes, with a loader process, accumulation and a checkpoint every third step,
is started for each kill; ``kill -9`` ends its whole process group at a random moment between its first file
and its last step. Then it is resumed until it is complete. Its final weights, target network and optimiser
are compared bit for bit with those of an uninterrupted run.
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


class KillResult(NamedTuple):
    """Result of one kill and resume.

    Attributes:
        rows: rows of ``metrics.csv`` at the kill.
        readable: whether its checkpoint could be read; true if it had none yet.
        complete: whether the resumed run finished.
        different: tensors that differ from the uninterrupted run.
    """

    rows: int
    readable: bool
    complete: bool
    different: list[str]


def start(words: list[str]) -> subprocess.Popen[bytes]:
    """Start a run in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "massrl", "pretrain", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def new_run(folder: Path) -> list[str]:
    """Return the flags of a new run."""
    return [*(word for pair in FLAGS.items() for word in pair), "--out", str(folder)]


def state(folder: Path) -> dict[str, Any]:
    """Return all tensors of a run's last checkpoint, by name."""
    content = load_checkpoint(folder / "checkpoints" / "last.ckpt")
    tensors = {f"method.{name}": item for name, item in content["method"].items()}
    for index, slots in content["optimizer"]["state"].items():
        tensors |= {f"optimizer.{index}.{name}": item for name, item in slots.items()}
    return {**tensors, "step": torch.tensor(content["step"])}


def one_kill(folder: Path, *, after: float, expected: dict[str, Any]) -> KillResult:
    """Start a run, kill it ``after`` seconds from its first file on, resume it, and compare."""
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
    return KillResult(rows, readable, complete, different)


def main() -> None:
    """Kill and resume runs, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--at_once", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        whole = Path(root) / "whole"
        process = start(new_run(whole))
        while not (whole / "config.yaml").is_file():
            time.sleep(0.005)
        begin = time.monotonic()
        assert process.wait() == 0
        seconds = time.monotonic() - begin
        expected = state(whole)
        moments = np.random.default_rng(0).uniform(0, seconds, args.kills)
        with ThreadPoolExecutor(args.at_once) as pool:
            work = [
                pool.submit(one_kill, Path(root) / str(number), after=moment, expected=expected)
                for number, moment in enumerate(moments)
            ]
            outcomes = [item.result() for item in work]
    rows = [outcome.rows for outcome in outcomes]
    about = environment_info(detect_hardware("cpu").name)
    versions = ", ".join(f"{name} {version}" for name, version in about["software"].items())
    lines = [
        "# Killed and resumed runs",
        "",
        f"`python benchmarks/kills.py --kills {args.kills} --at_once {args.at_once}`; commit "
        f"{about['commit']}; {about['hardware']}; {versions}.",
        "",
        "| | |",
        "|---|---|",
        f"| runs killed at a random moment by `kill -9`, and resumed | {len(outcomes)} |",
        f"| steps done at the kill, of {STEPS}: minimum, median, maximum | {min(rows)}, "
        f"{statistics.median(rows):.0f}, {max(rows)} |",
        f"| checkpoints that could not be read | {sum(not item.readable for item in outcomes)} |",
        f"| resumed runs that did not finish | {sum(not item.complete for item in outcomes)} |",
        f"| runs whose final weights, target network or optimiser differ in any bit from an uninterrupted "
        f"run | {sum(bool(item.different) for item in outcomes)} |",
    ]
    text = "\n".join(lines) + "\n"
    RESULTS.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
