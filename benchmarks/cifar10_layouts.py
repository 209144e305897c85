"""Five view layouts under two objectives, at equal seconds and epochs: ``results/cifar10_layouts.md``.

    OMP_NUM_THREADS=1 python benchmarks/cifar10_layouts.py --data DIR [--seeds 0 1 2] [--processes 2]

``DIR`` holds CIFAR-10 as ``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg``. Every run trains the same network
on the same 10,000 images with the settings of ``cifar10_cpu.py``, and is evaluated on all test images by
k-NN and a linear probe. The time of a step of each combination is measured first, on one thread of an idle
machine in interleaved rounds, and stored with the results: it converts ``--seconds`` of one core to a number
of steps, so that a busy machine does not change the result. Results that exist already are not repeated, so
the table can grow over several days.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

import massrl
from massrl.commands.bench import measure_step
from massrl.config.files import read_layers
from massrl.config.parser import make_config
from massrl.config.pretrain import Config
from massrl.files import write_json
from massrl.runs.environment import detect_hardware, environment_info

STORED = Path(__file__).parent / "results" / "cifar10_layouts.json"
RESULTS = STORED.with_suffix(".md")
SIMCLR = "simclr(blur_prob=0)"
FOUR = [SIMCLR, "randaugment(2,9)", "autoaugment(cifar10)", "fast-autoaugment(cifar10)"]
LAYOUTS: dict[str, dict[str, Any]] = {
    "2 views": {"layout": "simclr", "policies": [SIMCLR], "num_crops": 2},
    "4 views of one policy": {"layout": "simclr", "policies": [SIMCLR], "num_crops": 4},
    "4 views of 4 policies": {"layout": "massrl-4", "policies": FOUR, "num_crops": 1},
    "variant D, 8 views": {"layout": "massrl", "policies": FOUR, "num_crops": 2},
    "directional, 4 views": {
        "layout": "massrl-directional",
        "policies": [SIMCLR, "randaugment(2,9)"],
        "num_crops": 2,
    },
}
RECIPES = {"InfoNCE": "cifar10-cpu-simclr", "BYOL": "cifar10-cpu-byol"}
IMAGES = 10_000
ROUNDS = 3
HEAD = "| objective, views | ms per step | steps | k-NN | linear | seeds |"


def configuration(objective: str, layout: str, data: Path, **train: Any) -> Config:
    """Return the configuration of one combination, with the layout's own pairs."""
    changes: dict[str, Any] = {
        "data": {"train": str(data / "train"), "val": str(data / "test"), "workers": 0},
        "views": LAYOUTS[layout],
        "train": {"probe_every": 0, "time_budget": None, **train},
    }
    return make_config(read_layers(RECIPES[objective]), changes)


def milliseconds(names: list[str], data: Path) -> dict[str, float]:
    """Return the time of a step of each combination: the median of several interleaved rounds."""
    torch.set_num_threads(1)
    costs: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        for name, cost in costs.items():
            objective, _, layout = name.partition(", ")
            cost.append(measure_step(configuration(objective, layout, data, max_steps=12)).step)
    return {name: statistics.median(cost) for name, cost in costs.items()}


def train_and_evaluate(
    objective: str, layout: str, data: Path, train: dict[str, Any]
) -> dict[str, Any]:
    """Pre-train and evaluate, on one thread."""
    torch.set_num_threads(1)
    console = Console(quiet=True)
    config = configuration(objective, layout, data, **train)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        session = massrl.pretrain(
            make_config({**config.to_dict(), "out": str(out)}), console=console
        ).session
        if session.stopped_by is not None:
            raise SystemExit(f"stopped by {session.stopped_by}: finished runs are stored")
        results = massrl.evaluate(out, console=console)
    return {
        "steps": session.step,
        "knn": results["tasks"]["knn"]["acc1"],
        "linear": results["tasks"]["linear"]["acc1"],
        "commit": results["tasks"]["knn"]["commit"],
    }


def main() -> None:
    """Time the steps, train, evaluate, and write the table after every run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and test/")
    parser.add_argument("--seconds", type=float, default=400, help="seconds of one core")
    parser.add_argument("--epochs", type=float, default=5, help="passes over the images")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--processes", type=int, default=1, help="simultaneous runs")
    args = parser.parse_args()
    names = [f"{objective}, {layout}" for layout in LAYOUTS for objective in RECIPES]
    stored: dict[str, Any] = {"milliseconds": {}, "runs": {}}
    if STORED.is_file():
        stored = json.loads(STORED.read_text(encoding="utf-8"))
    if not stored["milliseconds"]:
        stored["milliseconds"] = milliseconds(names, args.data)
        write_json(STORED, stored)
    jobs = {}
    for seed in args.seeds:
        for name in names:
            steps = round(1000 * args.seconds / stored["milliseconds"][name])
            jobs[f"{name}; {args.seconds:g} seconds; seed {seed}"] = {"max_steps": steps}
        for name in names:
            jobs[f"{name}; {args.epochs:g} epochs; seed {seed}"] = {"epochs": args.epochs}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.processes, mp_context=spawn) as pool:
        running = {}
        for key, train in jobs.items():
            objective, _, layout = key.partition(";")[0].partition(", ")
            train["seed"] = int(key.rpartition(" ")[2])
            if key not in stored["runs"]:
                running[pool.submit(train_and_evaluate, objective, layout, args.data, train)] = key
        for done in as_completed(running):
            stored["runs"][running[done]] = done.result()
            stored["about"] = environment_info(detect_hardware("cpu").name)
            write_json(STORED, stored)
            RESULTS.write_text(table(stored, names, args), encoding="utf-8")
            print(running[done], done.result(), flush=True)


def table(stored: dict[str, Any], names: list[str], args: argparse.Namespace) -> str:
    """Format the metrics as Markdown: mean and standard deviation over the finished seeds."""
    versions = ", ".join(f"{name} {value}" for name, value in stored["about"]["software"].items())
    lines = [
        "# Layouts and objectives on CIFAR-10",
        "",
        f"`OMP_NUM_THREADS=1 python benchmarks/cifar10_layouts.py --data DIR --seconds {args.seconds:g} "
        f"--epochs {args.epochs:g}`; {stored['about']['hardware']}; {versions}.",
        f"{IMAGES:,} training images, all 10,000 test images, top-1 percent of frozen features; mean ± "
        "standard deviation over the seeds, whose number is in the last column. Seconds of one thread.",
    ]
    for budget in ("seconds", "epochs"):
        amount = f"{getattr(args, budget):g} {budget}"
        lines += ["", f"## {amount} each", "", HEAD, "|---|---|---|---|---|---|"]
        for name in names:
            runs = [
                run for key, run in stored["runs"].items() if key.startswith(f"{name}; {amount};")
            ]
            if runs:
                cells = [spread([run[figure] for run in runs]) for figure in ("knn", "linear")]
                lines.append(
                    f"| {name} | {stored['milliseconds'][name]:.0f} | {runs[0]['steps']:,} | "
                    f"{' | '.join(cells)} | {len(runs)} |"
                )
    return "\n".join(lines) + "\n"


def spread(values: list[float]) -> str:
    """Format the mean, with the standard deviation if there are several values."""
    mean = f"{statistics.mean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.1f}"


if __name__ == "__main__":
    main()
