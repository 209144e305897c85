"""The demonstration: pre-train with MASSRL and with BYOL for the same seconds, judge, draw, report.

Everything is rendered on the spot: no download, no file. It prints what came out, whatever it is:
docs/decisions.md says why the figures do not convince yet.
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

from massrl.api import PretrainResult, load_backbone, pretrain
from massrl.checkpoint import write_json
from massrl.configure import make_config, read_layers
from massrl.data.catalogue import open_source
from massrl.data.decode import decode
from massrl.data.sources import Source
from massrl.errors import ConfigError
from massrl.evaluation.features import extract_features
from massrl.evaluation.judge import judge
from massrl.options import DemoConfig
from massrl.report import Bars, Gallery, Picture, ReportContent, write_report
from massrl.run_folder import RunFolder
from massrl.run_log import circumstances
from massrl.run_report import loss_matrix, metric_curves
from massrl.train.progress import duration
from massrl.train.record import read_metrics
from massrl.train.resolve import this_machine

_DATA = "shapes"
_TASKS = ("knn", "linear")
_OWN = {"massrl", "byol", "results.json", "report.html", "views.png"}
_GALLERY_ROWS = 6
_NEIGHBOURS = 5
_NAMES = {"untrained": "untrained", "byol": "BYOL", "massrl": "MASSRL"}


@dataclass(frozen=True)
class _Outcome:
    figures: dict[str, dict[str, dict[str, Any]]]  # network: task: metrics
    massrl: PretrainResult
    byol: PretrainResult
    seconds: float


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
    byol = _pretrain("byol", config, folder, seconds=massrl.sitting.seconds, console=console)
    train, test = open_source(_DATA, split="train"), open_source(_DATA, split="val")
    figures = {}
    for name, result in (("untrained", massrl), ("byol", byol), ("massrl", massrl)):
        console.print(f"judging {_NAMES[name]} …")
        backbone = load_backbone(result.folder, untrained=name == "untrained")
        figures[name] = judge(backbone, train, test, tasks=_TASKS, side=32)
    outcome = _Outcome(figures, massrl, byol, time.perf_counter() - begin)
    write_json(folder / "results.json", _results(outcome))
    shutil.copyfile(RunFolder(massrl.folder).views, folder / "views.png")
    write_report(folder, _content(outcome, folder, train, test))
    _say(outcome, folder, console)
    return folder


def _empty_folder(folder: Path) -> Path:
    """The demonstration's folder, cleared of an earlier one and of nothing else."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file: choose another --out")
    if folder.exists() and {item.name for item in folder.iterdir()} - _OWN:
        raise ConfigError(f"{folder} holds something else: choose another --out")
    for name in ("massrl", "byol"):
        shutil.rmtree(folder / name, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _pretrain(
    name: str, config: DemoConfig, folder: Path, *, seconds: float, console: Console
) -> PretrainResult:
    settings = make_config(
        read_layers(f"shapes-{name}"),
        {
            "out": str(folder / name),
            "train": {"seconds": seconds, "seed": config.seed, "accelerator": "cpu"},
        },
    )
    console.rule(f"pre-training with {_NAMES[name]}")
    result = pretrain(settings, console=console, title=_NAMES[name])
    if result.sitting.stopped_by is not None:
        raise KeyboardInterrupt
    return result


def _results(outcome: _Outcome) -> dict[str, Any]:
    by_task = {
        task: {name: round(figures[task]["acc1"], 2) for name, figures in outcome.figures.items()}
        for task in _TASKS
    }
    runs = {"massrl": outcome.massrl, "byol": outcome.byol}
    return {
        **by_task,
        "seconds": round(outcome.seconds, 1),
        "training_seconds": {name: round(run.sitting.seconds, 1) for name, run in runs.items()},
        "steps": {name: run.sitting.step for name, run in runs.items()},
        "details": outcome.figures,
        **circumstances(this_machine("cpu").name),
    }


def _content(outcome: _Outcome, folder: Path, train: Source, test: Source) -> ReportContent:
    figures, massrl = outcome.figures, RunFolder(outcome.massrl.folder)
    before, after = (figures[name]["knn"]["acc1"] for name in ("untrained", "massrl"))
    seconds = outcome.massrl.sitting.seconds
    return ReportContent(
        title="massrl demo",
        lead=f"Without a single label, {duration(seconds)} of pre-training took k-NN accuracy on ten "
        f"shapes from {before:.1f} % to {after:.1f} %.",
        facts=[
            ("k-NN, untrained", f"{before:.1f} %"),
            ("k-NN, BYOL", f"{figures['byol']['knn']['acc1']:.1f} %"),
            ("k-NN, MASSRL", f"{after:.1f} %"),
            ("seconds each", f"{seconds:.0f}"),
            (
                "steps, MASSRL / BYOL",
                f"{outcome.massrl.sitting.step} / {outcome.byol.sitting.step}",
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
                title="Frozen features on 1,000 shapes never learnt from",
                groups=["k-NN", "linear probe"],
                series=[
                    (_NAMES[name], [figures[name][task]["acc1"] for task in _TASKS])
                    for name in ("untrained", "byol", "massrl")
                ],
                chance=10.0,
                note=f"Top-1 percent; both methods trained for {seconds:.0f} seconds on the same machine.",
            )
        ],
        images=[
            Picture(
                image=folder / "views.png",
                caption="What the four strategies make of the first images",
            )
        ],
        galleries=[
            _gallery("untrained", outcome.massrl.folder, train, test, untrained=True),
            _gallery("after MASSRL", outcome.massrl.folder, train, test, untrained=False),
        ],
    )


def _gallery(name: str, run: Path, train: Source, test: Source, *, untrained: bool) -> Gallery:
    """The first test images, and what the network holds to be nearest to them."""
    backbone = load_backbone(run, untrained=untrained)
    known = extract_features(backbone, train, side=32)
    asked = extract_features(backbone, test, side=32)
    queries = F.normalize(asked.values[:_GALLERY_ROWS], dim=1)
    nearest = torch.topk(queries @ F.normalize(known.values, dim=1).T, _NEIGHBOURS).indices
    rows = []
    for index, neighbours in enumerate(nearest.tolist()):
        label = int(asked.labels[index])
        row = [
            (_picture(train, neighbour), int(known.labels[neighbour]) == label)
            for neighbour in neighbours
        ]
        rows.append((_picture(test, index), row))
    return Gallery(title=f"Nearest neighbours, {name}", rows=rows)


def _picture(source: Source, index: int) -> Picture:
    assert source.labels is not None
    label = source.class_names[int(source.labels[index])]
    return Picture(image=decode(source.read(index)), alt=label)


def _say(outcome: _Outcome, folder: Path, console: Console) -> None:
    table = RichTable("frozen features, top-1 %", "untrained", "BYOL", "MASSRL")
    for task, name in (("knn", "k-NN"), ("linear", "linear probe")):
        row = [
            f"{outcome.figures[key][task]['acc1']:.1f}" for key in ("untrained", "byol", "massrl")
        ]
        table.add_row(name, *row)
    console.print(table)
    console.print(f"done in {duration(outcome.seconds)}; open these:")
    for file in ("report.html", "views.png", "results.json"):
        console.print(f"  {folder / file}", highlight=False, soft_wrap=True)
