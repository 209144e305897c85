"""Every protocol of evaluation on real data, untrained and pre-trained: ``results/evaluation.md``.

    python benchmarks/evaluation.py --cifar DIR --bccd DIR [--out runs/evaluation]

The one ``DIR`` holds CIFAR-10 as ``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg``, the other the blood cells of
BCCD in Pascal VOC's layout. The pre-trained backbones learn from the training parts alone, without labels, by
the recipe ``cifar10-cpu-massrl`` and, for blood cells, by the default one. What is there already is not made
again: pre-training goes on where it was stopped, and a task that has figures keeps them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import massrl
from massrl.config.files import read_layers
from massrl.config.parser import make_config
from massrl.evaluation.results import METRICS, headline_metrics, task_title
from massrl.runs.folder import RunFolder
from massrl.runs.metrics import read_metrics

RESULTS = Path(__file__).parent / "results" / "evaluation.md"
CIFAR_TASKS = ("knn", "linear", "linear-sgd", "semi-supervised", "features")
OUTCOMES = {"semi-supervised": ("semi-supervised-1", "semi-supervised-10")}
CELLS_NETWORK = {"backbone": "resnet10-narrow", "stem": "standard"}
DETECT = {"size": 240, "width": 64, "regions": 64, "epochs": 12, "batch_size": 4}


def main() -> None:
    """Pre-train, judge, and write the table after every task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cifar", type=Path, required=True, help="folder with train/ and test/")
    parser.add_argument("--bccd", type=Path, required=True, help="folder with JPEGImages")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/evaluation"), help="folder of the runs"
    )
    parser.add_argument("--seconds", type=float, default=600, help="seconds of each pre-training")
    parser.add_argument("--sgd_epochs", type=int, default=100, help="epochs of linear-sgd")
    wanted = parser.parse_args()
    cifar = pretrained(
        wanted.out / "cifar10",
        "cifar10-cpu-massrl",
        {
            "data": {"train": str(wanted.cifar / "train"), "val": str(wanted.cifar / "test")},
            "train": {"time_budget": wanted.seconds},
        },
    )
    cells = pretrained(
        wanted.out / "bccd",
        "default",
        {
            "data": {"train": str(learnt_cells(wanted.bccd, wanted.out)), "batch_size": 64},
            "views": {"size": 96},
            "model": CELLS_NETWORK,
            "train": {"time_budget": wanted.seconds, "probe_every": 0},
            "optim": {"lr": 0.004, "warmup_epochs": 5},
        },
    )
    for untrained in (True, False):
        for task in CIFAR_TASKS:
            judge(cifar, task, random_init=untrained, sgd={"epochs": wanted.sgd_epochs})
            write(wanted.out)
    parts = {"train": f"{wanted.bccd}:trainval", "val": f"{wanted.bccd}:test"}
    for untrained in (True, False):
        judge(cells, "detect", random_init=untrained, data=parts, detect=DETECT)
        write(wanted.out)


def learnt_cells(bccd: Path, out: Path) -> Path:
    """A list of the images that may be learnt from, which those to be judged by are not among."""
    names = (bccd / "ImageSets" / "Main" / "trainval.txt").read_text(encoding="utf-8").split()
    path = out / "bccd-trainval.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [str((bccd / "JPEGImages" / f"{name}.jpg").resolve()) for name in names]
    path.write_text("\n".join(images) + "\n", encoding="utf-8")
    return path


def pretrained(path: Path, recipe: str, changes: dict[str, Any]) -> RunFolder:
    """A run, made or gone on with."""
    folder = RunFolder(path)
    if folder.checkpoint.exists():
        result = massrl.resume(path)
    else:
        result = massrl.pretrain(make_config(read_layers(recipe), changes, {"out": str(path)}))
    if result.session.stopped_by:
        raise SystemExit("stopped: the same command goes on")
    return folder


def judge(folder: RunFolder, task: str, *, random_init: bool, **config: Any) -> None:
    """Judge by a task, unless its figures are there."""
    path = folder.path / ("results-random-init.json" if random_init else "results.json")
    done = json.loads(path.read_text(encoding="utf-8"))["tasks"] if path.is_file() else {}
    if not set(OUTCOMES.get(task, (task,))) <= set(done):
        massrl.evaluate(folder.path, {"task": [task], "random_init": random_init, **config})


def write(out: Path) -> None:
    """The figures that there are, as Markdown."""
    lines = [
        "# Evaluation on real data",
        "",
        "`python benchmarks/evaluation.py --cifar DIR --bccd DIR`; percent. Pre-trained without labels on "
        "the training parts (the policies of AutoAugment and Fast AutoAugment were once found with "
        "labels); untrained is the same network as its run began with it. Seconds are the task's, "
        "untrained and pre-trained, on a machine that did other things too.",
    ]
    for name, title in (("cifar10", "CIFAR-10"), ("bccd", "Blood cells (BCCD)")):
        folder = RunFolder(out / name)
        if not folder.metrics.is_file():
            continue
        last = read_metrics(folder.metrics)[-1]
        steps, seconds = int(last["step"]) + 1, float(last["seconds"])
        lines += [
            "",
            f"## {title}",
            "",
            f"Pre-training: {steps:,} steps in {seconds:.0f} seconds.",
            "",
        ]
        rows: dict[str, list[str]] = {}
        about: dict[str, Any] = {}
        for weights in ("untrained", "pre-trained"):
            file = "results-random-init.json" if weights == "untrained" else "results.json"
            path = folder.path / file
            tasks = json.loads(path.read_text(encoding="utf-8"))["tasks"] if path.is_file() else {}
            for task, item in tasks.items():
                about = item
                for key, value in headline_metrics(item).items():
                    row = rows.setdefault(f"{task_title(task)}, {METRICS[key]}", [""] * 4)
                    column = weights == "pre-trained"
                    row[column], row[2 + column] = f"{value:.2f}", f"{item['seconds']:.0f}"
        lines += ["| task, figure | untrained | pre-trained | seconds | |", "|---|---|---|---|---|"]
        lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
        if about:
            versions = ", ".join(f"{key} {value}" for key, value in about["software"].items())
            lines += ["", f"Commit {about['commit']}; {about['hardware']}; {versions}."]
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
