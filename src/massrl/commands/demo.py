"""``massrl demo``: pre-train with MASSRL and with BYOL for equally long, evaluate, and write a report.

All images are rendered: nothing is downloaded or read. The results are printed, whatever they are.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massrl.config.checks import in_range, raise_faults
from massrl.config.parser import make
from massrl.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from massrl.data.source import Source
    from massrl.evaluation.context import EvaluationContext
    from massrl.report.bar_chart import Bars
    from massrl.report.content import ReportContent
    from massrl.report.pictures import Gallery, Picture
    from massrl.train.session import PretrainResult

_DATA = "shapes"
_TASKS = ("knn", "linear")
_NETWORKS = {"random_init": "random init", "byol": "BYOL", "massrl": "MASSRL"}
_FILES = {
    "massrl",
    "byol",
    "results.json",
    "report.html",
    "views.png",
}  # of an earlier demonstration
_GALLERIES = ("random_init", "massrl")
_GALLERY_ROWS = 6
_NUM_NEIGHBOURS = 5


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Options of ``massrl demo``."""

    out: str = "runs/demo"
    """Folder to write."""
    seconds: float = 90.0
    """Seconds of pre-training for each of the two methods."""
    seed: int = 0
    """Seed of everything."""

    def __post_init__(self) -> None:
        raise_faults(in_range(self.seconds, "--seconds", low=1))


@dataclass(frozen=True)
class _Evaluated:
    """A network with the images it was evaluated on, and its metrics by task."""

    context: EvaluationContext
    metrics: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class _Results:
    """Everything that the report shows."""

    networks: dict[str, _Evaluated]
    massrl: PretrainResult
    byol: PretrainResult
    seconds: float

    def acc1(self, task: str) -> dict[str, float]:
        return {name: item.metrics[task]["acc1"] for name, item in self.networks.items()}


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

    from massrl.files import write_json
    from massrl.report.page import write_report
    from massrl.runs.folder import RunFolder
    from massrl.runs.log import duration

    console = console or Console()
    folder = _empty_folder(Path(config.out))
    begin = time.perf_counter()
    console.print(
        f"[bold]massrl demo[/bold]: rendered shapes, two methods, {duration(config.seconds)} each, "
        f"then k-NN and a linear probe; about {duration(2 * config.seconds + 60)} in all"
    )
    massrl = _pretrain("massrl", config, folder, seconds=config.seconds, console=console)
    byol = _pretrain("byol", config, folder, seconds=massrl.session.seconds, console=console)
    runs = {"random_init": massrl, "byol": byol, "massrl": massrl}
    networks = {name: _evaluate(name, run.folder, console) for name, run in runs.items()}
    results = _Results(networks, massrl, byol, time.perf_counter() - begin)
    write_json(folder / "results.json", _to_dict(results))
    shutil.copyfile(RunFolder(massrl.folder).views, folder / "views.png")
    write_report(folder, _content(results, folder))
    _print_results(results, folder, console)
    return folder


def _empty_folder(folder: Path) -> Path:
    """Create the folder, or remove an earlier demonstration from it and nothing else."""
    from massrl.runs.folder import RunFolder

    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file: choose another --out")
    present = {item.name for item in folder.iterdir()} if folder.exists() else set()
    runs = present & {"massrl", "byol"}
    if present - _FILES or not all(RunFolder(folder / name).log.is_file() for name in runs):
        raise ConfigError(f"{folder} contains something else: choose another --out")
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
    from massrl.commands.pretrain import pretrain
    from massrl.config.files import read_layers
    from massrl.config.parser import make_config

    options = make_config(
        read_layers(f"shapes-{name}"),
        {
            "out": str(folder / name),
            "train": {"time_budget": seconds, "seed": config.seed, "accelerator": "cpu"},
        },
    )
    console.rule(f"pre-training with {_NETWORKS[name]}")
    result = pretrain(options, console=console, title=_NETWORKS[name])
    if result.session.stopped_by is not None:
        raise KeyboardInterrupt
    return result


def _evaluate(name: str, run: Path, console: Console) -> _Evaluated:
    """Evaluate a run's network, or the one it started from, on frozen features."""
    from massrl.config.evaluation import EvaluateConfig
    from massrl.data.catalogue import open_source
    from massrl.evaluation.context import EvaluationContext
    from massrl.evaluation.data import EvaluationData
    from massrl.evaluation.run import run_tasks
    from massrl.runs.environment import detect_hardware
    from massrl.runs.log import TaskProgress
    from massrl.weights.load import load_backbone

    console.print(f"evaluating {_NETWORKS[name]} …")
    network: Any = load_backbone(run, random_init=name == "random_init")
    data = EvaluationData(open_source(_DATA, split="train"), open_source(_DATA, split="val"))
    parts: Any = {"network": network, "about": network.about, "hardware": detect_hardware("cpu")}
    with TaskProgress(console) as progress:
        context = EvaluationContext(**parts, progress=progress).on(data)
        results = run_tasks(context, EvaluateConfig(task=_TASKS))
        return _Evaluated(context, {result.name: result.to_dict() for result in results})


def _to_dict(results: _Results) -> dict[str, Any]:
    """Return the content of ``results.json``."""
    from massrl.runs.environment import detect_hardware, environment_info

    runs = {"massrl": results.massrl, "byol": results.byol}
    acc1 = {
        task: {name: round(value, 2) for name, value in results.acc1(task).items()}
        for task in _TASKS
    }
    return {
        **acc1,
        "seconds": round(results.seconds, 1),
        "training_seconds": {name: round(run.session.seconds, 1) for name, run in runs.items()},
        "steps": {name: run.session.step for name, run in runs.items()},
        "details": {name: item.metrics for name, item in results.networks.items()},
        **environment_info(detect_hardware("cpu").name),
    }


def _content(results: _Results, folder: Path) -> ReportContent:
    from massrl.report.content import ReportContent, Section
    from massrl.report.pictures import Picture
    from massrl.report.run_page import configuration_section, loss_matrices, metric_curves
    from massrl.runs.folder import RunFolder
    from massrl.runs.log import duration
    from massrl.runs.metrics import read_metrics

    massrl, byol = results.massrl, results.byol
    run, knn = RunFolder(massrl.folder), results.acc1("knn")
    seconds = massrl.session.seconds, byol.session.seconds
    runs = {"MASSRL": massrl, "BYOL": byol}
    metrics = [(name, read_metrics(RunFolder(item.folder).metrics)) for name, item in runs.items()]
    caption = "Views of the first images by the four policies"
    sheet = Picture(image=folder / "views.png", caption=caption)
    return ReportContent(
        title="massrl demo",
        lead=f"Without a single label, {duration(seconds[0])} of pre-training raised k-NN accuracy on ten "
        f"shapes from {knn['random_init']:.1f} % to {knn['massrl']:.1f} %.",
        facts=[
            *((f"k-NN, {name}", f"{knn[key]:.1f} %") for key, name in _NETWORKS.items()),
            ("seconds, MASSRL / BYOL", f"{seconds[0]:.0f} / {seconds[1]:.0f}"),
            ("steps, MASSRL / BYOL", f"{massrl.session.step} / {byol.session.step}"),
        ],
        sections=[
            Section("Results", [_bars(results)]),
            Section("Training", metric_curves(metrics), columns=True),
            Section("Pictures", [sheet, *loss_matrices(run)]),
            Section("Nearest neighbours", [_gallery(results, name) for name in _GALLERIES]),
            configuration_section(run),
        ],
    )


def _bars(results: _Results) -> Bars:
    from massrl.evaluation.results import task_title
    from massrl.report.bar_chart import Bars

    test = results.networks["massrl"].context.test
    return Bars(
        title=f"Frozen features on {len(test):,} shapes never trained on",
        groups=list(map(task_title, _TASKS)),
        series=[
            (_NETWORKS[name], [results.acc1(task)[name] for task in _TASKS])
            for name in results.networks
        ],
        chance=10.0,
        note="Top-1 percent, on the same machine. MASSRL: four views by four policies, InfoNCE loss, "
        f"{results.massrl.session.seconds:.0f} seconds. BYOL: planned for as long, took "
        f"{results.byol.session.seconds:.0f} seconds, two views, BYOL's own loss, which needs far longer "
        f"training.",
    )


def _gallery(results: _Results, name: str) -> Gallery:
    """Return the first test images with their nearest training images."""
    from massrl.evaluation.embedding import nearest
    from massrl.report.pictures import Gallery

    context = results.networks[name].context
    train, test = context.train_features, context.test_features
    indices = nearest(test.values[:_GALLERY_ROWS], train.values, count=_NUM_NEIGHBOURS)
    rows = []
    for query, neighbours in enumerate(indices.tolist()):
        same_class = (train.labels[neighbours] == test.labels[query]).tolist()
        pictures = [_picture(context.train, index) for index in neighbours]
        rows.append((_picture(context.test, query), list(zip(pictures, same_class, strict=True))))
    return Gallery(title=f"Nearest neighbours, {_NETWORKS[name]}", rows=rows)


def _picture(source: Source, index: int) -> Picture:
    from massrl.images.decode import decode
    from massrl.report.pictures import Picture

    assert source.labels is not None
    label = source.class_names[int(source.labels[index])]
    return Picture(image=decode(source.read(index)), alt=label)


def _print_results(results: _Results, folder: Path, console: Console) -> None:
    from rich.table import Table

    from massrl.evaluation.results import task_title
    from massrl.runs.log import duration

    table = Table("frozen features, top-1 %", *(_NETWORKS[name] for name in results.networks))
    for task in _TASKS:
        values = results.acc1(task).values()
        table.add_row(task_title(task), *(f"{value:.1f}" for value in values))
    console.print(table)
    if results.acc1("knn")["massrl"] <= results.acc1("knn")["random_init"]:
        console.print("MASSRL is no better than random weights yet: try --seconds 180")
    console.print(f"done in {duration(results.seconds)}; open these:")
    for file in ("report.html", "views.png", "results.json"):
        console.print(f"  {folder / file}", highlight=False, soft_wrap=True)


def run_demo_command(words: list[str]) -> int:
    """Run ``massrl demo`` and return the exit code."""
    run_demo(make(DemoConfig, arguments=words))
    return 0
