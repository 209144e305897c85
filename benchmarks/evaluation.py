"""All evaluation tasks on real data, random and pre-trained weights: ``results/evaluation.md``.

    python benchmarks/evaluation.py --cifar DIR --bccd DIR [--out runs/evaluation]

``--cifar`` holds CIFAR-10 as ``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg``, ``--bccd`` the blood cells of
BCCD in Pascal VOC's layout. The backbones are pre-trained on the training parts only, without labels, with
the recipe ``cifar10-cpu-massrl`` and, for blood cells, the default recipe. Nothing is repeated: a stopped
pre-training resumes, and tasks that have results are skipped.
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
RESULT_NAMES = {"semi-supervised": ("semi-supervised-1", "semi-supervised-10")}
CELLS_NETWORK = {"backbone": "resnet10-narrow", "stem": "standard"}
DETECT = {"size": 240, "width": 64, "regions": 64, "epochs": 12, "batch_size": 4}


def main() -> None:
    """Pre-train, evaluate, and write the table after every task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cifar", type=Path, required=True, help="folder with train/ and test/")
    parser.add_argument("--bccd", type=Path, required=True, help="folder with JPEGImages")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/evaluation"), help="folder of the runs"
    )
    parser.add_argument("--seconds", type=float, default=600, help="seconds of each pre-training")
    parser.add_argument("--sgd_epochs", type=int, default=100, help="epochs of linear-sgd")
    args = parser.parse_args()
    cifar = pretrained(
        args.out / "cifar10",
        "cifar10-cpu-massrl",
        {
            "data": {"train": str(args.cifar / "train"), "val": str(args.cifar / "test")},
            "train": {"time_budget": args.seconds},
        },
    )
    cells = pretrained(
        args.out / "bccd",
        "default",
        {
            "data": {"train": str(training_list(args.bccd, args.out)), "batch_size": 64},
            "views": {"size": 96},
            "model": CELLS_NETWORK,
            "train": {"time_budget": args.seconds, "probe_every": 0},
            "optim": {"lr": 0.004, "warmup_epochs": 5},
        },
    )
    for random_init in (True, False):
        for task in CIFAR_TASKS:
            evaluate(cifar, task, random_init=random_init, sgd={"epochs": args.sgd_epochs})
            write(args.out)
    parts = {"train": f"{args.bccd}:trainval", "val": f"{args.bccd}:test"}
    for random_init in (True, False):
        evaluate(cells, "detect", random_init=random_init, data=parts, detect=DETECT)
        write(args.out)


def training_list(bccd: Path, out: Path) -> Path:
    """Write a list of the training images, which leaves out the test images."""
    names = (bccd / "ImageSets" / "Main" / "trainval.txt").read_text(encoding="utf-8").split()
    path = out / "bccd-trainval.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [str((bccd / "JPEGImages" / f"{name}.jpg").resolve()) for name in names]
    path.write_text("\n".join(images) + "\n", encoding="utf-8")
    return path


def pretrained(path: Path, recipe: str, changes: dict[str, Any]) -> RunFolder:
    """Return a run, started or resumed."""
    folder = RunFolder(path)
    if folder.checkpoint.exists():
        result = massrl.resume(path)
    else:
        result = massrl.pretrain(make_config(read_layers(recipe), changes, {"out": str(path)}))
    if result.session.stopped_by:
        raise SystemExit("stopped: the same command continues")
    return folder


def evaluate(folder: RunFolder, task: str, *, random_init: bool, **config: Any) -> None:
    """Run a task, unless it has results."""
    path = folder.path / ("results-random-init.json" if random_init else "results.json")
    done = json.loads(path.read_text(encoding="utf-8"))["tasks"] if path.is_file() else {}
    if not set(RESULT_NAMES.get(task, (task,))) <= set(done):
        massrl.evaluate(folder.path, {"task": [task], "random_init": random_init, **config})


def write(out: Path) -> None:
    """Write the results so far as Markdown."""
    lines = [
        "# Evaluation on real data",
        "",
        "`python benchmarks/evaluation.py --cifar DIR --bccd DIR`; percent. Pre-trained without labels on "
        "the training parts (the policies of AutoAugment and Fast AutoAugment were searched with labels); "
        "random init: the same network with its initial weights. Seconds are those of the task, for random "
        "init and pre-trained weights, on a machine with other load.",
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
        for weights in ("random init", "pre-trained"):
            file = "results-random-init.json" if weights == "random init" else "results.json"
            path = folder.path / file
            tasks = json.loads(path.read_text(encoding="utf-8"))["tasks"] if path.is_file() else {}
            for task, item in tasks.items():
                about = item
                for key, value in headline_metrics(item).items():
                    row = rows.setdefault(f"{task_title(task)}, {METRICS[key]}", [""] * 4)
                    column = weights == "pre-trained"
                    row[column], row[2 + column] = f"{value:.2f}", f"{item['seconds']:.0f}"
        lines += [
            "| task, metric | random init | pre-trained | seconds | |",
            "|---|---|---|---|---|",
        ]
        lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
        if about:
            versions = ", ".join(f"{key} {value}" for key, value in about["software"].items())
            lines += ["", f"Commit {about['commit']}; {about['hardware']}; {versions}."]
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
