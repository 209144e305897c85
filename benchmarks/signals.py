"""Runs signalled at random moments, from their first line to their last: the table of ``results/signals.md``.

    python benchmarks/signals.py [--signals 200] [--at_once 2] [--seed 0]

A small SimCLR run on rendered shapes, with one or two processes and zero or two loader processes each, gets
SIGINT or SIGTERM, or SIGUSR1 as in a SLURM job, at a random moment after its start, after the line that
precedes its first batch, or after its last step. Every second signal goes to the whole process group, as a
terminal and SLURM send it, the others to the main process alone. Right are: no traceback, no process left 5
seconds after the end, and exit code 130 or 143, or 0 for a run that is complete, or was saved and requeued.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from massrl.runs.environment import detect_hardware, environment_info
from massrl.train.checkpoint import load_checkpoint

RESULTS = Path(__file__).parent / "results" / "signals.md"
HANG = 60.0  # seconds from the signal
LEFT = 5.0  # seconds that child processes may take to end
STEPS = 30
PLACES = {"": 12.0, "\nwarm-up ": 1.5, f"step {STEPS}/{STEPS}": 1.5}
"""Text that a run has printed -> the most seconds from there to the signal."""
FLAGS = {
    "--data.train": "shapes(count=96,size=32)",
    "--data.batch_size": "32",
    "--views.layout": "simclr",
    "--model.backbone": "resnet10-tiny",
    "--model.projector.hidden": "16",
    "--model.projector.out": "8",
    "--method.name": "simclr",
    "--train.max_steps": str(STEPS),
    "--train.probe_every": "1",
    "--train.accelerator": "cpu",
}


class Case(NamedTuple):
    """One run and its signal.

    Attributes:
        processes: of the run.
        workers: loader processes of each.
        name: of the signal.
        group: whether it goes to the whole process group.
        after: what the run has printed before; empty for its start.
        moment: seconds from there.
    """

    processes: int
    workers: int
    name: str
    group: bool
    after: str
    moment: float


class Outcome(NamedTuple):
    """What a signalled run did.

    Attributes:
        case: the run and its signal.
        code: exit code; negative for a process that the signal itself ended.
        end: where the run was: ``complete``, ``saved`` or ``nothing saved``.
        faults: what was not right; empty if nothing.
        errors: the last lines that it printed.
    """

    case: Case
    code: int
    end: str
    faults: list[str]
    errors: str


def start(folder: Path, case: Case, errors: Path) -> subprocess.Popen[bytes]:
    """Start a run in a process group of its own, within a SLURM job if its signal is SLURM's."""
    own = {"--data.workers": str(case.workers), "--train.devices": str(case.processes)}
    words = [word for pair in {**FLAGS, **own}.items() for word in pair]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    folder.parent.mkdir()
    if case.name == "SIGUSR1":
        scontrol = folder.parent / "scontrol"
        scontrol.write_text(f"#!/bin/sh\ntouch {folder.parent}/requeued\n", encoding="utf-8")
        scontrol.chmod(0o755)
        environment |= {"SLURM_JOB_ID": "1", "PATH": f"{folder.parent}:{os.environ['PATH']}"}
    with errors.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "massrl", "pretrain", *words, "--out", str(folder)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=file,
            start_new_session=True,
        )


def members(group: int) -> list[int]:
    """Return the processes of a group that are no zombies, from ``/proc``."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) == group and fields[0] != "Z":
                found.append(int(path.name))
    return found


def ends(group: int, *, within: float) -> bool:
    """Wait until no process of a group is left; ``False`` if that takes too long."""
    deadline = time.monotonic() + within
    while members(group):
        if time.monotonic() > deadline:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
            return False
        time.sleep(0.05)
    return True


def one_signal(root: Path, number: int, case: Case) -> Outcome:
    """Start a run, signal it, and return how it ends."""
    folder, file = root / str(number) / "run", root / f"{number}.txt"
    process = start(folder, case, file)
    while case.after not in file.read_text(encoding="utf-8") and process.poll() is None:
        time.sleep(0.01)
    time.sleep(case.moment)
    send = os.killpg if case.group else os.kill
    with suppress(ProcessLookupError):
        send(process.pid, signal.Signals[case.name])
    faults = []
    try:
        code = process.wait(HANG)
    except subprocess.TimeoutExpired:
        faults.append("hangs")
        os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
    if not ends(process.pid, within=LEFT):
        faults.append("child processes left")
    errors = file.read_text(encoding="utf-8", errors="replace")
    faults += [word for word in ("Traceback", "unexpected", "Exception ignored") if word in errors]
    checkpoint = folder / "checkpoints" / "last.ckpt"
    step = int(load_checkpoint(checkpoint)["step"]) if checkpoint.is_file() else 0
    requeued = (folder.parent / "requeued").is_file()
    if code == 0 and step < STEPS and not (step and requeued):
        faults.append("0, neither complete nor requeued")
    if step == STEPS and requeued:
        faults.append("complete, and requeued")
    stopped = {"SIGINT": 130, "SIGTERM": 143}.get(case.name, 0)
    if code not in (0, stopped) and not (case.name == "SIGTERM" and code == -signal.SIGTERM):
        faults.append(f"exit code {code}")
    if step == STEPS and (folder / "backbone.safetensors").is_file() and code:
        faults.append("complete, but not 0")
    end = "complete" if step == STEPS else "saved" if step else "nothing saved"
    return Outcome(case, code, end, faults, errors[-1500:])


def draw(count: int, seed: int) -> list[Case]:
    """Draw the runs and their signals."""
    generator = np.random.default_rng(seed)
    cases = []
    for _ in range(count):
        after = str(generator.choice(list(PLACES)))
        case = Case(
            processes=1 + int(generator.integers(2)),
            workers=2 * int(generator.integers(2)),
            name=str(generator.choice(["SIGINT", "SIGTERM", "SIGUSR1"])),
            group=bool(generator.integers(2)),
            after=after,
            moment=float(generator.uniform(0, PLACES[after])),
        )
        cases.append(case)
    return cases


def table(outcomes: list[Outcome]) -> list[str]:
    """Return the rows: how many runs ended in which way, and what was not right."""
    counts = Counter((item.case.name, item.code, item.end) for item in outcomes)
    lines = ["| signal | exit code | run | runs |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {code} | {end} | {many} |"
        for (name, code, end), many in sorted(counts.items())
    ]
    faults = Counter(fault for item in outcomes for fault in item.faults)
    wrong = [f"| {fault} | {many} |" for fault, many in sorted(faults.items())]
    return [*lines, "", "| not right | runs |", "|---|---|", *(wrong or ["| nothing | 0 |"])]


def main() -> None:
    """Signal runs, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--signals", type=int, default=200)
    parser.add_argument("--at_once", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    cases = draw(args.signals, args.seed)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        with ThreadPoolExecutor(args.at_once) as pool:
            work = [
                pool.submit(one_signal, root, number, case) for number, case in enumerate(cases)
            ]
            outcomes = [item.result() for item in work]
    for item in outcomes:
        if item.faults:
            print(
                item.case, item.code, item.end, item.faults, item.errors, sep="\n", file=sys.stderr
            )
    about = environment_info(detect_hardware("cpu").name)
    versions = ", ".join(f"{name} {version}" for name, version in about["software"].items())
    lines = [
        "# Signalled runs",
        "",
        f"`python benchmarks/signals.py --signals {args.signals} --at_once {args.at_once} --seed "
        f"{args.seed}`; commit {about['commit']}; {about['hardware']}; {versions}.",
        "",
        *table(outcomes),
    ]
    text = "\n".join(lines) + "\n"
    RESULTS.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
