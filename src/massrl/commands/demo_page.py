"""The page of ``massrl demo``: its figures, what they say and do not say, and its pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from massrl.data.source import Source
    from massrl.evaluation.context import EvaluationContext
    from massrl.report.bar_chart import Bars
    from massrl.report.content import ReportContent
    from massrl.report.pictures import Gallery, Picture
    from massrl.train.session import PretrainResult

NETWORKS = {"random_init": "random init", "byol": "BYOL", "massrl": "MASSRL"}
TASKS = ("knn", "linear")
CONVINCING_STEPS = 700
"""Steps from which on MASSRL's figures say something: after 200, 450 and 700 steps k-NN is 42-49, 58-60 and
65-74 % (three seeds), 36.5 % with random weights."""
# Why a network can be worse than it was with random weights.
_REASONS = {
    "byol": "Random filters already tell outlines apart; training first loses that, and BYOL's loss, which "
    "only draws views of an image together, needs far longer than a demonstration to make up for it.",
    "massrl": "Random filters already tell outlines apart, and training first loses some of that.",
}
_GALLERIES = ("random_init", "massrl")
_GALLERY_ROWS = 6
_NUM_NEIGHBOURS = 5


@dataclass(frozen=True)
class Evaluated:
    """A network with the images it was evaluated on, and its metrics by task."""

    context: EvaluationContext
    metrics: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class DemoResults:
    """Everything that the report shows."""

    networks: dict[str, Evaluated]
    massrl: PretrainResult
    byol: PretrainResult
    seconds: float

    @property
    def runs(self) -> dict[str, PretrainResult]:
        """The two runs, by the name of their network."""
        return {"massrl": self.massrl, "byol": self.byol}

    def acc1(self, task: str) -> dict[str, float]:
        """Return the accuracy of each network in percent."""
        return {name: item.metrics[task]["acc1"] for name, item in self.networks.items()}

    def is_below_random(self, name: str, task: str) -> bool:
        """Return whether training has made a network worse than it was with random weights."""
        acc1 = self.acc1(task)
        return acc1[name] < acc1["random_init"]


def remarks(results: DemoResults) -> list[str]:
    """Return a line for each figure below the untrained network's, and for a run that is too short."""
    from massrl.evaluation.results import task_title

    lines = []
    for name, run in results.runs.items():
        steps, label = run.session.step, NETWORKS[name]
        for task in TASKS:
            if results.is_below_random(name, task):
                acc1 = results.acc1(task)
                lines.append(
                    f"{label}, {task_title(task)}: {acc1[name]:.1f} is below the {acc1['random_init']:.1f} "
                    f"of random init after {steps:,} steps. {_REASONS[name]}"
                )
        if name == "massrl" and steps < CONVINCING_STEPS:
            seconds = math.ceil(run.session.seconds / max(1, steps) * CONVINCING_STEPS)
            lines.append(
                f"{label} made {steps:,} steps; its figures say something from about {CONVINCING_STEPS} on: "
                f"--seconds {seconds} on this machine"
            )
    return lines


def page_content(results: DemoResults, folder: Path) -> ReportContent:
    """Return what the page shows.

    Args:
        results: of both runs.
        folder: the demonstration's, with ``views.png``.
    """
    from massrl.report.content import ReportContent, Section
    from massrl.report.pictures import Picture
    from massrl.report.run_page import configuration_section, loss_matrices, metric_curves
    from massrl.runs.folder import RunFolder
    from massrl.runs.log import duration
    from massrl.runs.metrics import read_metrics

    massrl, byol = results.massrl, results.byol
    run = RunFolder(massrl.folder)
    seconds = massrl.session.seconds, byol.session.seconds
    runs = {"MASSRL": massrl, "BYOL": byol}
    metrics = [(name, read_metrics(RunFolder(item.folder).metrics)) for name, item in runs.items()]
    caption = "Views of the first images by the four policies"
    sheet = Picture(image=folder / "views.png", caption=caption)
    return ReportContent(
        title="massrl demo",
        command="demo",
        lead=f"Without a single label, {duration(seconds[0])} of pre-training {_outcome(results)}.",
        facts=[
            *((f"k-NN, {name}", _knn_fact(results, key)) for key, name in NETWORKS.items()),
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


def _outcome(results: DemoResults) -> str:
    knn = results.acc1("knn")
    verb = "raised" if knn["massrl"] > knn["random_init"] else "did not raise"
    figures = f"{knn['random_init']:.1f} % to {knn['massrl']:.1f} %"
    return f"{verb} k-NN accuracy on ten shapes: from {figures}"


def _knn_fact(results: DemoResults, name: str) -> str:
    below = ", below random init: see the note" if results.is_below_random(name, "knn") else ""
    return f"{results.acc1('knn')[name]:.1f} %{below}"


def _bars(results: DemoResults) -> Bars:
    from massrl.evaluation.results import task_title
    from massrl.report.bar_chart import Bars

    test = results.networks["massrl"].context.test
    return Bars(
        title=f"Frozen features on {len(test):,} shapes never trained on",
        groups=list(map(task_title, TASKS)),
        series=[
            (NETWORKS[name], [results.acc1(task)[name] for task in TASKS])
            for name in results.networks
        ],
        chance=10.0,
        note="Top-1 percent, on the same machine. MASSRL: four views by four policies, InfoNCE loss, "
        f"{results.massrl.session.seconds:.0f} seconds. BYOL: planned for as long, took "
        + " ".join(
            [
                f"{results.byol.session.seconds:.0f} seconds, two views, BYOL's own loss.",
                *remarks(results),
            ]
        ),
    )


def _gallery(results: DemoResults, name: str) -> Gallery:
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
    return Gallery(title=f"Nearest neighbours, {NETWORKS[name]}", rows=rows)


def _picture(source: Source, index: int) -> Picture:
    from massrl.images.decode import decode
    from massrl.report.pictures import Picture

    assert source.labels is not None
    label = source.class_names[int(source.labels[index])]
    return Picture(image=decode(source.read(index)), alt=label)
