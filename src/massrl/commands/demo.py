"""``massrl demo``: pre-train with one policy and with four for equally long, evaluate, and write a report.

Network, random weights, objective, planned seconds and all other options are the same. All images are
rendered: nothing is downloaded or read. The results are printed, whatever they are.
"""

from __future__ import annotations

import contextlib
import logging
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massrl.commands.demo_page import (
    CONVINCING_STEPS,
    NETWORKS,
    RUNS,
    TASKS,
    DemoResults,
    Evaluated,
    page_content,
    remarks,
)
from massrl.config.checks import in_range, raise_faults
from massrl.config.parser import make
from massrl.errors import ConfigError, StoppedError

if TYPE_CHECKING:
    from rich.console import Console

    from massrl.config.pretrain import Config
    from massrl.train.session import PretrainResult

logger = logging.getLogger("massrl")

_DATA = "shapes"
_SECONDS = 90.0  # for each of the two runs, where that is enough
_OTHER_SECONDS = 60.0  # for all the rest, on a machine on which it is enough
_MEASURED_SECONDS = 1.0
_ROUNDS = 3  # of timing each run's steps
# Of an earlier demonstration; version 0.1.0 ran BYOL.
_RUNS = {*RUNS, "byol"}
_FILES = {*_RUNS, "results.json", "report.html", "views.png"}


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Options of ``massrl demo``."""

    out: str = "runs/demo"
    """Folder to write."""
    seconds: float | None = None
    """Seconds of pre-training with one policy, and as many with four. When left out 90, or more where this
    machine needs more for the steps from which on the figures say something."""
    seed: int = 0
    """Seed of everything."""
    overwrite: bool = False
    """Replace files that massrl did not write for the same purpose too; never one that is read."""

    def __post_init__(self) -> None:
        raise_faults(in_range(self.seconds, "--seconds", low=1))


def run_demo(config: DemoConfig, *, console: Console | None = None) -> Path:
    """Run the demonstration.

    Args:
        config: folder, duration and seed.
        console: where progress is shown; the terminal by default.

    Returns:
        The folder with ``results.json``, ``report.html`` and ``views.png``.

    Raises:
        ConfigError: if the folder contains something that is not an earlier demonstration.
    """
    from rich.console import Console

    from massrl.files import write_atomically, write_json
    from massrl.report.page import write_report
    from massrl.runs.folder import RunFolder
    from massrl.runs.log import duration

    console = console or Console()
    folder = _empty_folder(Path(config.out).expanduser(), overwrite=config.overwrite)
    begin = time.perf_counter()
    seconds, steps = _plan(config, folder, console)
    whole = 2 * seconds + _OTHER_SECONDS * max(1.0, seconds / _SECONDS)
    console.print(
        "[bold]massrl demo[/bold]: rendered shapes; two views by one policy, then four views by four, with "
        f"the same network and objective, {duration(seconds)} each; "
        f"k-NN and a linear probe; about {duration(whole)} in all"
    )
    runs = {
        name: _pretrain(name, config, folder, steps=count, console=console)
        for name, count in steps.items()
    }
    folders = {name: runs.get(name, runs["massrl"]).folder for name in NETWORKS}
    networks = {name: _evaluate(name, run, console) for name, run in folders.items()}
    results = DemoResults(networks, runs, time.perf_counter() - begin)
    write_json(folder / "results.json", _to_dict(results, seed=config.seed))
    sheet = RunFolder(runs["massrl"].folder).views.read_bytes()
    write_atomically(folder / "views.png", lambda file: file.write(sheet))
    write_report(folder, page_content(results, folder))
    _print_results(results, folder, console)
    return folder


def _empty_folder(folder: Path, *, overwrite: bool) -> Path:
    """Create the folder, or remove an earlier demonstration from it and nothing else."""
    from massrl.files import check_outputs
    from massrl.runs.folder import RunFolder

    files = dict.fromkeys((folder / "results.json", folder / "report.html"), "demo")
    check_outputs({**files, folder / "views.png": "pretrain"}, overwrite=overwrite)
    present = {item.name for item in folder.iterdir()} if folder.exists() else set()
    if present - _FILES:
        raise ConfigError(f"{folder} contains something else: choose another --out")
    runs = [RunFolder(folder / name) for name in sorted(present & _RUNS)]
    for run in runs:
        run.check_earlier(overwrite=overwrite)
    for run in runs:
        run.clear()
        for emptied in (run.checkpoint.parent, run.path):  # an empty folder is no run
            with contextlib.suppress(OSError):  # something else is in it
                emptied.rmdir()
    return folder


def _plan(config: DemoConfig, folder: Path, console: Console) -> tuple[float, dict[str, int]]:
    """Return the seconds of each run, and the steps of each that take so long.

    Steps of both are timed by turns, so that other load on the machine slows neither plan alone; and each
    run makes all its steps, down to the end of its learning rate's schedule.
    """
    from massrl.train.timing import seconds_per_step

    timed: dict[str, list[float]] = {name: [] for name in RUNS}
    for _ in range(_ROUNDS):
        for name, values in timed.items():
            run = _run_config(name, config, folder, steps=CONVINCING_STEPS)
            values.append(seconds_per_step(run, at_most=_MEASURED_SECONDS))
    step = {name: statistics.median(values) for name, values in timed.items()}
    seconds = config.seconds or max(_SECONDS, CONVINCING_STEPS * step["massrl"])
    if config.seconds is None and seconds > _SECONDS:
        console.print(
            f"a step takes {step['massrl']:.2f} s on this machine: pre-training is longer than "
            f"{_SECONDS:.0f} s, for the {CONVINCING_STEPS} steps from which on the figures say something "
            "(--seconds sets it)"
        )
    return seconds, {name: max(1, round(seconds / value)) for name, value in step.items()}


def _run_config(name: str, config: DemoConfig, folder: Path, *, steps: int) -> Config:
    from massrl.config.files import read_layers
    from massrl.config.parser import make_config

    train = {"time_budget": None, "max_steps": steps, "seed": config.seed, "accelerator": "cpu"}
    changes = {"out": str(folder / name), "train": train}
    return make_config(read_layers(f"shapes-{name}"), changes)


def _pretrain(
    name: str, config: DemoConfig, folder: Path, *, steps: int, console: Console
) -> PretrainResult:
    from massrl.commands.pretrain import pretrain

    options = _run_config(name, config, folder, steps=steps)
    console.rule(f"pre-training with {NETWORKS[name]}")
    result = pretrain(options, console=console, title=NETWORKS[name])
    if stopped_by := result.session.stopped_by:
        raise StoppedError("stopped", signal_name=stopped_by)
    return result


def _evaluate(name: str, run: Path, console: Console) -> Evaluated:
    """Evaluate a run's network, or the one it started from, on frozen features."""
    from massrl.config.evaluation import EvaluateConfig
    from massrl.data.catalogue import open_source
    from massrl.evaluation.context import EvaluationContext
    from massrl.evaluation.data import EvaluationData
    from massrl.evaluation.run import run_tasks
    from massrl.runs.environment import detect_hardware
    from massrl.runs.log import TaskProgress
    from massrl.weights.load import load_backbone

    console.print(f"evaluating {NETWORKS[name]} …")
    network: Any = load_backbone(run, random_init=name == "random_init")
    data = EvaluationData(open_source(_DATA, split="train"), open_source(_DATA, split="val"))
    parts: Any = {"network": network, "about": network.about, "hardware": detect_hardware("cpu")}
    with TaskProgress(console) as progress:
        context = EvaluationContext(**parts, progress=progress).on(data)
        results = run_tasks(context, EvaluateConfig(task=TASKS))
        return Evaluated(context, {result.name: result.to_dict() for result in results})


def _to_dict(results: DemoResults, *, seed: int) -> dict[str, Any]:
    """Return the content of ``results.json``."""
    from massrl.runs.environment import detect_hardware, environment_info

    acc1 = {
        task: {name: round(value, 2) for name, value in results.acc1(task).items()}
        for task in TASKS
    }
    return {
        **acc1,
        "seed": seed,
        "seconds": round(results.seconds, 1),
        "training_seconds": {
            name: round(run.session.seconds, 1) for name, run in results.runs.items()
        },
        "steps": {name: run.session.step for name, run in results.runs.items()},
        "remarks": remarks(results),
        "details": {name: item.metrics for name, item in results.networks.items()},
        **environment_info(detect_hardware("cpu").name),
    }


def _print_results(results: DemoResults, folder: Path, console: Console) -> None:
    from rich.console import Console
    from rich.table import Table

    from massrl.evaluation.results import task_title
    from massrl.runs.folder import RunFolder
    from massrl.runs.log import duration, logging_to

    table = Table("frozen features, top-1 %", *(NETWORKS[name] for name in results.networks))
    for task in TASKS:
        cells = (
            f"{value:.1f}{'*' * results.is_below_random(name, task)}"
            for name, value in results.acc1(task).items()
        )
        table.add_row(task_title(task), *cells)
    console.print(table)
    lines = remarks(results)
    for run in results.runs.values():  # the log of a run tells what its figures mean, too
        with logging_to(RunFolder(run.folder).log, Console(quiet=True)):
            for line in lines:
                logger.info("%s", line)
    for line in lines:
        console.print(f"* {line}", style="yellow", highlight=False, soft_wrap=True)
    console.print(f"done in {duration(results.seconds)}; open these:")
    for file in ("report.html", "views.png", "results.json"):
        console.print(f"  {folder / file}", highlight=False, soft_wrap=True)


def run_demo_command(words: list[str]) -> int:
    """Run ``massrl demo`` and return the exit code."""
    run_demo(make(DemoConfig, arguments=words))
    return 0
