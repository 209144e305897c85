"""What a whole training loop costs beside that of another checkout: ``results/loop.md``.

    python benchmarks/loop.py --before CHECKOUT [--rounds 7]

``CHECKOUT`` is a folder with another version of the project, its extension modules built. Both train
the same runs from the same seeds, in processes of their own, round by round in turn; a ratio is the
median of the rounds' ratios. The smallest network on small batches shows what the loop itself costs.
Seconds are those of ``metrics.csv``, without the first steps.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from massrl.runs.environment import detect_hardware, environment_info

HERE = Path(__file__).parents[1]
RESULTS = HERE / "benchmarks" / "results" / "loop.md"
WARMUP = 20  # steps

# name -> flags that both versions know
RUNS = {
    "smallest network, 32 px, batch 8, SimCLR": [
        *(
            "--model.backbone",
            "resnet10-tiny",
            "--data.batch_size",
            "8",
            "--train.max_steps",
            "320",
        ),
        *("--views.layout", "simclr", "--views.policies", "weak"),
    ],
    "smallest network, 32 px, 4 × batch 4, 4 policies": [
        *(
            "--model.backbone",
            "resnet10-tiny",
            "--data.batch_size",
            "16",
            "--train.max_steps",
            "120",
        ),
        *("--train.accumulate", "4", "--views.layout", "massrl-4", "--train.memory", "streamed"),
    ],
    "ResNet-18, 32 px, batch 32, SimCLR": [
        *("--model.backbone", "resnet18", "--data.batch_size", "32", "--train.max_steps", "50"),
        *("--views.layout", "simclr", "--views.policies", "weak"),
    ],
}
COMMON = [
    *("--data.train", "shapes(count=640,size=32)", "--data.workers", "0", "--data.cache", "memory"),
    *("--model.projector.hidden", "64", "--model.projector.out", "32", "--train.probe_every", "0"),
    *("--train.log_every", "10", "--train.accelerator", "cpu"),
]


def seconds_per_step(checkout: Path, flags: list[str]) -> float:
    """Train in a process of its own, and return the seconds of a step after the warm-up."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(checkout / "src"),
        "OMP_NUM_THREADS": "1",
        "MASSRL_CACHE": "cache",
    }
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "massrl", "pretrain", *COMMON, *flags, "--out", "run"]
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        with (Path(folder) / "run" / "metrics.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if int(row["step"]) >= WARMUP]
    first, last = rows[0], rows[-1]
    steps = int(last["step"]) - int(first["step"])
    return (float(last["seconds"]) - float(first["seconds"])) / steps


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    info = environment_info(detect_hardware("cpu").name)
    versions = ", ".join(f"{name} {version}" for name, version in info["software"].items())
    lines = [
        "# The training loop, before and after",
        "",
        f"`python benchmarks/loop.py --before CHECKOUT --rounds {given.rounds}`; {info['hardware']}; "
        f"{versions}. One thread. Medians of interleaved rounds; a ratio is the median of the rounds' "
        "ratios, below 1 where the new loop is faster.",
        "",
        "| run | before, ms a step | after, ms a step | after / before |",
        "|---|---|---|---|",
    ]
    for name, flags in RUNS.items():
        before, after = [], []
        for _ in range(given.rounds):
            before.append(seconds_per_step(given.before, flags) * 1000)
            after.append(seconds_per_step(HERE, flags) * 1000)
        ratio = statistics.median(new / old for new, old in zip(after, before, strict=True))
        lines.append(
            f"| {name} | {statistics.median(before):.2f} | {statistics.median(after):.2f} | {ratio:.3f} |"
        )
        print(lines[-1], flush=True)
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
