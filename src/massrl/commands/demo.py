"""The demonstration: pre-train with MASSRL and with BYOL for the same seconds, judge, draw, report.

Everything is rendered on the spot: no download, no file. It prints what came out, whatever it is.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table as RichTable

from massrl.commands.pretrain import pretrain
from massrl.config.checks import MANY, in_range, raise_faults
from massrl.config.evaluation import EvaluateConfig
from massrl.config.files import read_layers
from massrl.config.parser import make_config
from massrl.data.catalogue import open_source
from massrl.data.source import Source
from massrl.errors import ConfigError
from massrl.evaluation.context import EvaluationContext, make_context
from massrl.evaluation.run import judge
from massrl.files import write_json
from massrl.images.decode import decode
from massrl.report.content import Bars, Gallery, Picture, ReportContent
from massrl.report.page import write_report
from massrl.report.run_page import loss_matrix, metric_curves
from massrl.runs.environment import detect_hardware, environment_info
from massrl.runs.folder import RunFolder
from massrl.runs.log import TaskProgress, duration
from massrl.runs.metrics import read_metrics
from massrl.train.session import PretrainResult
from massrl.weights.load import load_backbone

_DATA = "shapes"


_SIDE = 32


_OWN = {"massrl", "byol", "results.json", "report.html", "views.png"}


_GALLERY_ROWS = 6


_NEIGHBOURS = 5


TASK_NAMES = {"knn": "k-NN", "linear": "linear probe"}


_NAMES = {"untrained": "untrained", "byol": "BYOL", "massrl": "MASSRL"}


@dataclass(frozen=True)
class _Judged:
    """A network with its features of the images, and what came of them."""

    subject: EvaluationContext
    figures: dict[str, dict[str, Any]]  # task: metrics


@dataclass(frozen=True)
class _Outcome:
    networks: dict[str, _Judged]
    massrl: PretrainResult
    byol: PretrainResult
    train: Source
    test: Source
    seconds: float

    def acc1(self, task: str) -> dict[str, float]:
        return {name: judged.figures[task]["acc1"] for name, judged in self.networks.items()}


def run_demo(config: DemoConfig, *, console: Console | None = None) -> Path:
    """Run the demonstration.

    Args:
        config: where to, how long, which seed.
        console: where progress is shown; the terminal by default.

    Returns:
        The folder with ``results.json``, ``report.html`` and ``views.png``.

    Raises:
        ConfigError: if the folder holds something that is not an earlier demonstration.
    """
    console = console or Console()
    folder = _empty_folder(Path(config.out))
    begin = time.perf_counter()
    console.print(
        f"[bold]massrl demo[/bold]: rendered shapes, two methods, {duration(config.seconds)} each, "
        f"then k-NN and a linear probe; about {duration(2 * config.seconds + 60)} in all"
    )
    massrl = _pretrain("massrl", config, folder, seconds=config.seconds, console=console)
    byol = _pretrain("byol", config, folder, seconds=massrl.session.seconds, console=console)
    train, test = open_source(_DATA, split="train"), open_source(_DATA, split="val")
    networks = {}
    for name, result in (("untrained", massrl), ("byol", byol), ("massrl", massrl)):
        console.print(f"judging {_NAMES[name]} …")
        backbone = load_backbone(result.folder, random_init=name == "untrained")
        with TaskProgress(console) as progress:
            subject = make_context(
                backbone, train, test, side=_SIDE, machine=detect_hardware("cpu"), progress=progress
            )
            networks[name] = _Judged(subject, judge(subject, EvaluateConfig()))
    outcome = _Outcome(networks, massrl, byol, train, test, time.perf_counter() - begin)
    write_json(folder / "results.json", _results(outcome))
    shutil.copyfile(RunFolder(massrl.folder).views, folder / "views.png")
    write_report(folder, _content(outcome, folder))
    _say(outcome, folder, console)
    return folder


def _empty_folder(folder: Path) -> Path:
    """The demonstration's folder, cleared of an earlier one and of nothing else."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file: choose another --out")
    present = {item.name for item in folder.iterdir()} if folder.exists() else set()
    runs = present & {"massrl", "byol"}
    if present - _OWN or not all(RunFolder(folder / name).log.is_file() for name in runs):
        raise ConfigError(f"{folder} holds something else: choose another --out")
    try:
        for name in runs:
            shutil.rmtree(folder / name)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written to: {error.strerror} (--out)") from None
    return folder


def _pretrain(
    name: str, config: DemoConfig, folder: Path, *, seconds: float, console: Console
) -> PretrainResult:
    settings = make_config(
        read_layers(f"shapes-{name}"),
        {
            "out": str(folder / name),
            "train": {"time_budget": seconds, "seed": config.seed, "accelerator": "cpu"},
        },
    )
    console.rule(f"pre-training with {_NAMES[name]}")
    result = pretrain(settings, console=console, title=_NAMES[name])
    if result.session.stopped_by is not None:
        raise KeyboardInterrupt
    return result


def _results(outcome: _Outcome) -> dict[str, Any]:
    by_task = {
        task: {name: round(value, 2) for name, value in outcome.acc1(task).items()}
        for task in TASK_NAMES
    }
    runs = {"massrl": outcome.massrl, "byol": outcome.byol}
    return {
        **by_task,
        "seconds": round(outcome.seconds, 1),
        "training_seconds": {name: round(run.session.seconds, 1) for name, run in runs.items()},
        "steps": {name: run.session.step for name, run in runs.items()},
        "details": {name: judged.figures for name, judged in outcome.networks.items()},
        **environment_info(detect_hardware("cpu").name),
    }


def _content(outcome: _Outcome, folder: Path) -> ReportContent:
    massrl, knn = RunFolder(outcome.massrl.folder), outcome.acc1("knn")
    before, after = knn["untrained"], knn["massrl"]
    seconds = outcome.massrl.session.seconds
    return ReportContent(
        title="massrl demo",
        lead=f"Without a single label, {duration(seconds)} of pre-training took k-NN accuracy on ten "
        f"shapes from {before:.1f} % to {after:.1f} %.",
        facts=[
            ("k-NN, untrained", f"{before:.1f} %"),
            ("k-NN, BYOL", f"{knn['byol']:.1f} %"),
            ("k-NN, MASSRL", f"{after:.1f} %"),
            ("seconds, MASSRL / BYOL", f"{seconds:.0f} / {outcome.byol.session.seconds:.0f}"),
            (
                "steps, MASSRL / BYOL",
                f"{outcome.massrl.session.step} / {outcome.byol.session.step}",
            ),
        ],
        config_text=massrl.config.read_text(encoding="utf-8"),
        curves=metric_curves(
            [
                ("MASSRL", read_metrics(massrl.metrics)),
                ("BYOL", read_metrics(RunFolder(outcome.byol.folder).metrics)),
            ]
        ),
        matrix=loss_matrix(massrl),
        bars=[
            Bars(
                title=f"Frozen features on {len(outcome.test):,} shapes never learnt from",
                groups=list(TASK_NAMES.values()),
                series=[
                    (_NAMES[name], [outcome.acc1(task)[name] for task in TASK_NAMES])
                    for name in outcome.networks
                ],
                chance=10.0,
                note=f"Top-1 percent, on the same machine. MASSRL: {seconds:.0f} seconds, four views of "
                f"four strategies under InfoNCE. BYOL: planned for as long, took "
                f"{outcome.byol.session.seconds:.0f} seconds, two views under BYOL's own loss, which needs "
                "far longer runs.",
            )
        ],
        images=[
            Picture(
                image=folder / "views.png",
                caption="What the four strategies make of the first images",
            )
        ],
        galleries=[
            _gallery("untrained", outcome.networks["untrained"], outcome),
            _gallery("after MASSRL", outcome.networks["massrl"], outcome),
        ],
    )


def _gallery(title: str, judged: _Judged, outcome: _Outcome) -> Gallery:
    """The first test images, and what the network holds to be nearest to them."""
    known, asked = judged.subject.train_features, judged.subject.test_features
    queries = F.normalize(asked.values[:_GALLERY_ROWS], dim=1)
    nearest = torch.topk(queries @ F.normalize(known.values, dim=1).T, _NEIGHBOURS).indices
    rows = []
    for index, neighbours in enumerate(nearest.tolist()):
        label = int(asked.labels[index])
        row = [
            (_picture(outcome.train, neighbour), int(known.labels[neighbour]) == label)
            for neighbour in neighbours
        ]
        rows.append((_picture(outcome.test, index), row))
    return Gallery(title=f"Nearest neighbours, {title}", rows=rows)


def _picture(source: Source, index: int) -> Picture:
    assert source.labels is not None
    label = source.class_names[int(source.labels[index])]
    return Picture(image=decode(source.read(index)), alt=label)


def _say(outcome: _Outcome, folder: Path, console: Console) -> None:
    table = RichTable("frozen features, top-1 %", *(_NAMES[name] for name in outcome.networks))
    for task, name in TASK_NAMES.items():
        table.add_row(name, *(f"{value:.1f}" for value in outcome.acc1(task).values()))
    console.print(table)
    if outcome.acc1("knn")["massrl"] <= outcome.acc1("knn")["untrained"]:
        console.print("MASSRL has not learnt yet: give it longer, such as --seconds 180")
    console.print(f"done in {duration(outcome.seconds)}; open these:")
    for file in ("report.html", "views.png", "results.json"):
        console.print(f"  {folder / file}", highlight=False, soft_wrap=True)


def run_demo_command(words: list[str]) -> int:
    """Run ``massrl demo`` and return the exit code."""
    from massrl.config.parser import make

    config = make(DemoConfig, arguments=words)

    run_demo(config)
    return 0


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """The demonstration: pre-train, judge, compare and draw on rendered images."""

    out: str = "runs/demo"
    """Folder to write."""
    seconds: float = 90.0
    """Seconds of pre-training for each of the two methods."""
    seed: int = 0
    """Seed of everything."""

    def __post_init__(self) -> None:
        raise_faults(
            in_range(self.seconds, 1, MANY, "--seconds"),
        )
