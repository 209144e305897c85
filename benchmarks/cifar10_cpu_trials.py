"""Short trials behind the CIFAR-10 recipes for a CPU: the table of ``results/cifar10_cpu_trials.md``.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/cifar10_cpu_trials.py --data DIR

``DIR`` holds CIFAR-10 as ``train/CLASS/*.jpg``; its test images are not used. Each row changes one
setting of its group, trains on the same 10,000 training images, and is evaluated on 2,000 other training
images. All runs of a group have the same number of steps; two views get twice as many as four, which takes
about as long. Runs that exist already are not repeated.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import massrl
from cifar10_cpu import FOUR
from massrl.config.files import read_layers
from massrl.config.layers import merge
from massrl.config.parser import make_config
from massrl.data.catalogue import open_source
from massrl.data.splits import balanced_subset
from massrl.runs.folder import RunFolder

RESULTS = Path(__file__).parent / "results" / "cifar10_cpu_trials.md"
TRAINING, HELD_OUT = 10_000, 2_000  # images


@dataclass(frozen=True)
class Group:
    """Trials about one objective and layout.

    Attributes:
        recipe: that all of them start from.
        steps: optimiser steps of each.
        settings: changes to the recipe that all of them share.
        rows: the further change of each, as ``(section, field, value)``.
    """

    recipe: str
    steps: int
    settings: dict[str, Any]
    rows: list[tuple[str, str, Any]] = field(default_factory=list)


def base(lr: float, **method: float) -> dict[str, Any]:
    """Return the settings that a group starts from, independent of later changes to its recipe."""
    return {"optim": {"lr": lr}, "method": method, "views": {"crop_scale": [0.45, 1.0]}}


CROPS = [("views", "crop_scale", [low, 1.0]) for low in (0.2, 0.7)]

GROUPS = {
    "InfoNCE, 4 views of 4 policies": Group(
        "cifar10-cpu-massrl",
        250,
        base(0.016, temperature=0.15),
        [
            ("optim", "lr", 0.008),
            ("optim", "lr", 0.032),
            ("method", "temperature", 0.1),
            ("method", "temperature", 0.2),
            *CROPS,
        ],
    ),
    "BYOL, 2 views": Group(
        "cifar10-cpu-byol",
        500,
        base(0.008, target_momentum=0.99),
        [
            ("optim", "lr", 0.004),
            ("optim", "lr", 0.016),
            ("method", "target_momentum", 0.95),
            ("method", "target_momentum", 0.98),
            ("method", "target_momentum", 0.996),
            *CROPS,
        ],
    ),
    "InfoNCE, 2 views": Group(
        "cifar10-cpu-simclr",
        500,
        base(0.016, temperature=0.15),
        [("optim", "lr", 0.008), ("method", "temperature", 0.2), *CROPS],
    ),
    "BYOL, 4 views of 4 policies": Group(
        "cifar10-cpu-byol",
        250,
        merge(
            base(0.008, target_momentum=0.99),
            {"views": {"layout": "massrl-4", "policies": FOUR}},
        ),
        [
            ("optim", "lr", 0.016),
            ("method", "target_momentum", 0.95),
            ("method", "target_momentum", 0.98),
            *CROPS,
        ],
    ),
}


def main() -> None:
    """Run the trials and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with train/")
    parser.add_argument("--out", type=Path, default=Path("runs/cifar10-cpu-trials"))
    args = parser.parse_args()
    console = Console()
    train = (args.data / "train").resolve()
    held_out = held_out_list(train, args.out)
    made = [
        (name, row, run(name, row, train=train, val=held_out, out=args.out, console=console))
        for name, group in GROUPS.items()
        for row in (None, *group.rows)
    ]
    text = table(made)
    RESULTS.write_text(text, encoding="utf-8")
    console.print(text, markup=False, highlight=False)


def held_out_list(train: Path, out: Path) -> Path:
    """Write a list of training images that no trial trains on, balanced by class."""
    source = open_source(str(train))
    assert source.labels is not None
    used = balanced_subset(source.labels, TRAINING, seed=0)  # the same as --data.limit selects
    rest = np.setdiff1d(np.arange(len(source)), used)
    chosen = rest[balanced_subset(source.labels[rest], HELD_OUT, seed=0)]
    lines = [f"{source.describe(i)}\t{source.class_names[source.labels[i]]}" for i in chosen]
    file = out / "held-out.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def run(
    name: str,
    row: tuple[str, str, Any] | None,
    *,
    train: Path,
    val: Path,
    out: Path,
    console: Console,
) -> dict[str, Any]:
    """Pre-train and evaluate one row."""
    group = GROUPS[name]
    title = f"{name}, {changed(row)}"
    slug = "".join(letter if letter.isalnum() else "-" for letter in title).lower()
    folder = RunFolder(out / f"{slug}-{group.steps}")
    if not folder.results.exists():
        if not folder.backbone.exists():
            settings: dict[str, Any] = {
                "out": str(folder.path),
                "data": {"train": str(train), "val": str(val), "limit": TRAINING},
                "train": {"max_steps": group.steps, "probe_every": 0},
            }
            change = {row[0]: {row[1]: row[2]}} if row else {}
            config = make_config(read_layers(group.recipe), group.settings, change, settings)
            if massrl.pretrain(config, console=console, title=title).session.stopped_by:
                raise SystemExit(f"stopped: continue with massrl pretrain --resume {folder.path}")
        massrl.evaluate(folder.path, console=console)
    tasks: dict[str, Any] = json.loads(folder.results.read_text(encoding="utf-8"))["tasks"]
    return tasks


def changed(row: tuple[str, str, Any] | None) -> str:
    """Describe the change of a row."""
    return "as given" if row is None else f"{row[0]}.{row[1]} {row[2]}"


def table(made: list[tuple[str, tuple[str, str, Any] | None, dict[str, Any]]]) -> str:
    """Format the metrics as Markdown, with what is needed to reproduce them."""
    about = made[0][2]["knn"]
    versions = ", ".join(f"{name} {version}" for name, version in about["software"].items())
    commits = ", ".join(dict.fromkeys(str(results["knn"]["commit"]) for _, _, results in made))
    lines = [
        "# CIFAR-10 on a CPU: the trials behind the recipes",
        "",
        "The result is [the table](cifar10_cpu.md). These short runs selected the hyper-parameters of its "
        "recipes: one seed, equal numbers of steps, so they compare settings and are not results. All are "
        f"evaluated on {HELD_OUT:,} training images that none trains on; the test images are not used.",
        "",
        f"`OMP_WAIT_POLICY=PASSIVE python benchmarks/cifar10_cpu_trials.py --data DIR`; commit {commits}; "
        f"{about['hardware']}; {versions}.",
    ]
    for name, group in GROUPS.items():
        given = ", ".join(
            f"{section}.{key} {value}"
            for section, part in group.settings.items()
            for key, value in part.items()
            if key != "policies"
        )
        lines += [
            "",
            f"## {name}",
            "",
            f"`{group.recipe}` with {given}; {group.steps} steps of 96 images.",
            "",
            "| changed | k-NN | linear |",
            "|---|---|---|",
        ]
        lines += [
            f"| {changed(row)} | {results['knn']['acc1']:.2f} | {results['linear']['acc1']:.2f} |"
            for owner, row, results in made
            if owner == name
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
