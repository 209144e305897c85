"""Objectives and view layouts at equal seconds on a CPU: the table of ``results/cifar10_cpu.md``.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/cifar10_cpu.py --data DIR [--seconds 600] [--seeds 0]

``DIR`` holds CIFAR-10 as ``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg``. Every run trains the same network
on the same 10,000 images, and is evaluated on all test images by k-NN and a linear probe that are fitted on
those 10,000. Runs that exist already are not repeated. ``massrl pretrain`` sets ``OMP_WAIT_POLICY`` by
itself; from Python it has to be given.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from rich.console import Console

import massrl
from massrl.config.files import read_layers
from massrl.config.parser import make_config
from massrl.runs.folder import RunFolder
from massrl.runs.metrics import read_metrics

RESULTS = Path(__file__).parent / "results" / "cifar10_cpu.md"

FOUR = [
    "simclr(blur_prob=0)",
    "randaugment(2,9)",
    "autoaugment(cifar10)",
    "fast-autoaugment(cifar10)",
]

# name in the table -> recipe, and changes to it
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "InfoNCE, 4 views of 4 policies": ("cifar10-cpu-massrl", {}),
    "BYOL, 2 views": ("cifar10-cpu-byol", {}),
    "InfoNCE, 2 views": ("cifar10-cpu-simclr", {}),
    "BYOL, 4 views of 4 policies": (
        "cifar10-cpu-byol",
        {"views": {"layout": "massrl-4", "policies": FOUR}},
    ),
}


def main() -> None:
    """Train, evaluate and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and test/")
    parser.add_argument("--seconds", type=float, default=600, help="seconds of each run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one run for each")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/cifar10-cpu"), help="folder of the runs"
    )
    args = parser.parse_args()
    console = Console()
    metrics = {
        name: [
            run(name, args.data, args.out, seconds=args.seconds, seed=seed, console=console)
            for seed in args.seeds
        ]
        for name in RUNS
    }
    baseline = [item["random init"] for item in metrics["InfoNCE, 2 views"]]
    metrics = {"random init": baseline, **metrics}
    text = table(metrics, args.seconds)
    RESULTS.write_text(text, encoding="utf-8")
    console.print(text, markup=False, highlight=False)


def run(
    name: str, data: Path, out: Path, *, seconds: float, seed: int, console: Console
) -> dict[str, Any]:
    """Pre-train and evaluate one combination with one seed."""
    recipe, changes = RUNS[name]
    slug = name.replace(",", "").replace(" ", "-").lower()
    folder = RunFolder(out / f"{slug}-{seconds:g}s-{seed}")
    if not folder.results.exists():
        if not folder.backbone.exists():
            settings: dict[str, Any] = {
                "out": str(folder.path),
                "data": {"train": str(data / "train"), "val": str(data / "test")},
                "train": {"time_budget": seconds, "seed": seed},
            }
            config = make_config(read_layers(recipe), changes, settings)
            if massrl.pretrain(config, console=console, title=name).session.stopped_by:
                raise SystemExit(f"stopped: continue with massrl pretrain --resume {folder.path}")
        massrl.evaluate(folder.path, {"random_init": True}, console=console)
        massrl.evaluate(folder.path, console=console)
    results = json.loads(folder.results.read_text(encoding="utf-8"))
    random_init = json.loads((folder.path / "results-random-init.json").read_text(encoding="utf-8"))
    last = read_metrics(folder.metrics)[-1]
    return {
        "steps": int(last["step"]) + 1,
        "epochs": float(last["epoch"]),
        "seconds": float(last["seconds"]),
        "knn": results["tasks"]["knn"]["acc1"],
        "linear": results["tasks"]["linear"]["acc1"],
        "results": results,
        "random init": {
            "steps": 0,
            "epochs": 0.0,
            "seconds": 0.0,
            "knn": random_init["tasks"]["knn"]["acc1"],
            "linear": random_init["tasks"]["linear"]["acc1"],
        },
    }


def table(metrics: dict[str, list[dict[str, Any]]], seconds: float) -> str:
    """Format the metrics as Markdown, with what is needed to reproduce them."""
    about = next(iter(metrics["InfoNCE, 2 views"]))["results"]["tasks"]["knn"]
    versions = ", ".join(f"{name} {version}" for name, version in about["software"].items())
    seeds = len(metrics["random init"])
    lines = [
        "# CIFAR-10 on a CPU, at equal seconds",
        "",
        f"`OMP_WAIT_POLICY=PASSIVE python benchmarks/cifar10_cpu.py --data DIR --seconds {seconds:g}`, "
        f"{seeds} seed(s); commit {about['commit']}; {about['hardware']}; {versions}.",
        f"10,000 training images, {about['data']['val']['num_images']:,} test images "
        f"(fingerprints {about['data']['train']['fingerprint']}, {about['data']['val']['fingerprint']}).",
        "A run's number of steps is set from its first seconds, k-NN probes included: on a shared machine "
        "it ends early or late.",
        "",
        "| objective, views | steps | epochs | seconds | k-NN | linear |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in metrics.items():
        cells = [spread([item[key] for item in runs], digits) for key, digits in COLUMNS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


COLUMNS = (("steps", 0), ("epochs", 1), ("seconds", 0), ("knn", 2), ("linear", 2))


def spread(values: list[float], digits: int) -> str:
    """Format the mean, with the standard deviation if there are several values."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


if __name__ == "__main__":
    main()
