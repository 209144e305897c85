"""How long commands take to start, and what a pre-training run imports: ``results/startup.md``.

``python benchmarks/startup.py [--before DIR]``; ``DIR`` is the ``src`` folder of an earlier version, which
is then measured in turn with this one. Every number is a median over the rounds.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from massrl.commands import COMMANDS
from massrl.runs.environment import detect_hardware, environment_info

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "startup.md"
BACKBONES = {"resnet10-tiny": "a network of massrl", "resnet18": "a network of torchvision"}
RUN = [
    "pretrain",
    "--data.train=shapes(count=8,size=16)",
    "--data.batch_size=4",
    "--data.workers=0",
    "--views.size=16",
    "--train.max_steps=1",
    "--train.accelerator=cpu",
]
_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+\d+ \| +\S")
_FIRST_LINE = "recipe "  # of a run's log


class Imports(NamedTuple):
    """What a run imports.

    Attributes:
        first: seconds of imports up to the first line of the log.
        total: seconds of all imports of the run.
        modules: number of modules imported up to the first line.
    """

    first: float
    total: float
    modules: int


def start(source: Path, *words: str) -> list[str]:
    """Run ``massrl`` from a source folder to its end and return the lines of stderr."""
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stderr.splitlines()


def help_seconds(source: Path, command: str) -> float:
    """Measure the seconds that ``massrl COMMAND --help`` takes, the start of Python included."""
    begin = time.perf_counter()
    start(source, "-m", "massrl", *command.split(), "--help")
    return time.perf_counter() - begin


def run_imports(source: Path, backbone: str) -> Imports:
    """Measure the imports of a run of one step."""
    with tempfile.TemporaryDirectory() as folder:
        words = [*RUN, f"--model.backbone={backbone}", f"--out={folder}/run"]
        lines = start(source, "-X", "importtime", "-m", "massrl", *words)
    first, total, modules = 0.0, 0.0, 0
    for line in lines:
        if match := _IMPORT.match(line):
            total += int(match[1]) / 1e6
            modules += not first
        elif line.startswith(_FIRST_LINE) and not first:
            first = total
    assert first, "the run has no log"
    return Imports(first, total, modules)


def first_line_seconds(source: Path, backbone: str) -> float:
    """Measure the seconds from the start of a run to the first line of its log."""
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        words = [*RUN, f"--model.backbone={backbone}", f"--out={folder}/run"]
        begin = time.perf_counter()
        command = [sys.executable, "-m", "massrl", *words]
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        seconds = next(
            time.perf_counter() - begin for line in process.stderr if line.startswith(_FIRST_LINE)
        )
        process.communicate()
    return seconds


def main() -> None:
    """Measure the versions in turn and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="src folder of an earlier version")
    parser.add_argument(
        "--rounds", type=int, default=5, help="measurements, of which medians are shown"
    )
    wanted = parser.parse_args()
    sources = {"now": ROOT / "src"} | ({"before": wanted.before} if wanted.before else {})
    helps: dict[tuple[str, str], list[float]] = {}
    starts: dict[tuple[str, str], list[float]] = {}
    imports: dict[tuple[str, str], list[Imports]] = {}
    for number in range(wanted.rounds):
        for version, source in sources.items():
            print(f"round {number + 1}, {version}", flush=True)
            for command in ["", *COMMANDS]:
                if not (command == "parts" and version == "before"):
                    key = version, command
                    helps.setdefault(key, []).append(help_seconds(source, command))
            for backbone in BACKBONES:
                key = version, backbone
                starts.setdefault(key, []).append(first_line_seconds(source, backbone))
                imports.setdefault(key, []).append(run_imports(source, backbone))
    write(sources, wanted.rounds, helps, starts, imports)


def write(
    sources: dict[str, Path],
    rounds: int,
    helps: dict[tuple[str, str], list[float]],
    starts: dict[tuple[str, str], list[float]],
    imports: dict[tuple[str, str], list[Imports]],
) -> None:
    """Write the medians as Markdown."""
    about = environment_info(detect_hardware().name)
    versions = ", ".join(f"{name} {version}" for name, version in about["software"].items())
    before = "before" in sources
    lines = [
        "# Start-up",
        "",
        f"`python benchmarks/startup.py{' --before DIR' * before}`; commit {about['commit']}; "
        f"{about['hardware']}; {versions}.",
        f"Medians of {rounds} rounds, one thread"
        + (", version 0.1.0 (`before`) and this one in turn." if before else "."),
        "",
        "Seconds of `massrl COMMAND --help`, the start of Python included:",
        "",
        "| command | now | before |" if before else "| command | now |",
        f"|---|{'---|' * len(sources)}",
    ]
    for command in ["", *COMMANDS]:
        cells = [helps.get((version, command)) for version in sources]
        texts = [f"{median(cell):.2f}" if cell else "–" for cell in cells]
        name = f"massrl {command}".strip()
        lines.append(f"| `{name}` | {' | '.join(texts)} |")
    lines += [
        "",
        "A pre-training run of one step: seconds to the first line of its log, and seconds of imports "
        "(`python -X importtime`) up to there and in all:",
        "",
        "| backbone, version | first line | imports | modules | imports of the whole run |",
        "|---|---|---|---|---|",
    ]
    for backbone, what in BACKBONES.items():
        for version in sources:
            measured = imports[version, backbone]
            first, total, modules = (median(column) for column in zip(*measured, strict=True))
            lines.append(
                f"| {backbone} ({what}), {version} | {median(starts[version, backbone]):.2f} | "
                f"{first:.2f} | {modules:,.0f} | {total:.2f} |"
            )
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
