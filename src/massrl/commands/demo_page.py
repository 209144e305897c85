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

RUNS = {"simclr": "one policy", "massrl": "four policies"}
NETWORKS = {"random_init": "random init", **RUNS}
TASKS = ("knn", "linear")
CONVINCING_STEPS = 700
"""Steps from which on the figures of four policies say something: after 200, 450 and 700 steps k-NN is 42-49,
58-60 and 65-74 % (three seeds), 36.5 % with random weights."""
# Why a network can be worse than it was with random weights.
_REASON = "Random filters already tell outlines apart, and training first loses some of that."
_EQUAL = 1.2  # longest by shortest: probes and the loader's start take some seconds of each
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
    runs: dict[str, PretrainResult]
    seconds: float

    def acc1(self, task: str) -> dict[str, float]:
        """Return the accuracy of each network in percent."""
        return {name: item.metrics[task]["acc1"] for name, item in self.networks.items()}

    def is_below_random(self, name: str, task: str) -> bool:
        """Return whether training has made a network worse than it was with random weights."""
        acc1 = self.acc1(task)
        return acc1[name] < acc1["random_init"]


def remarks(results: DemoResults) -> list[str]:
    """Return a line for each figure below random init's, a run too short, and runs not equally long."""
    from massrl.evaluation.results import task_title

    lines = []
    for name, run in results.runs.items():
        steps, label = run.session.step, NETWORKS[name]
        for task in TASKS:
            if results.is_below_random(name, task):
                acc1 = results.acc1(task)
                lines.append(
                    f"{label}, {task_title(task)}: {acc1[name]:.1f} is below the {acc1['random_init']:.1f} "
                    f"of random init after {steps:,} steps. {_REASON}"
                )
        if name == "massrl" and steps < CONVINCING_STEPS:
            seconds = math.ceil(run.session.seconds / max(1, steps) * CONVINCING_STEPS)
            lines.append(
                f"{label} made {steps:,} steps; its figures say something from about {CONVINCING_STEPS} on: "
                f"--seconds {seconds} on this machine"
            )
    return lines + _unequal_seconds(results)


def _unequal_seconds(results: DemoResults) -> list[str]:
    """Return a line if other load on the machine has made one run much longer than the other."""
    seconds = {RUNS[name]: run.session.seconds for name, run in results.runs.items()}
    if max(seconds.values()) <= _EQUAL * min(seconds.values()):
        return []
    took = ", ".join(f"{name} {value:.0f} seconds" for name, value in seconds.items())
    return [
        f"the runs were planned for equally long but took: {took}; the machine was busy with "
        "something else in between"
    ]


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
    from massrl.runs.metrics import read_metrics

    run = RunFolder(results.runs["massrl"].folder)
    metrics = [
        (NETWORKS[name], read_metrics(RunFolder(item.folder).metrics))
        for name, item in results.runs.items()
    ]
    caption = "Views of the first images by the four policies"
    sheet = Picture(image=folder / "views.png", caption=caption)
    sessions = [item.session for item in results.runs.values()]
    names = " / ".join(RUNS.values())
    return ReportContent(
        title="massrl demo",
        command="demo",
        lead=page_lead(results),
        facts=[
            *((f"k-NN, {name}", _knn_fact(results, key)) for key, name in NETWORKS.items()),
            (f"seconds, {names}", " / ".join(f"{session.seconds:.0f}" for session in sessions)),
            (f"steps, {names}", " / ".join(str(session.step) for session in sessions)),
        ],
        sections=[
            Section("Results", [_bars(results)]),
            Section("Training", metric_curves(metrics), columns=True),
            Section("Pictures", [sheet, *loss_matrices(run)]),
            Section("Nearest neighbours", [_gallery(results, name) for name in _GALLERIES]),
            configuration_section(run),
        ],
    )


def page_lead(results: DemoResults) -> str:
    """Return what the networks differ by, and what came of it."""
    one, four = (run.session for run in results.runs.values())
    accuracies = ", ".join(
        f"{NETWORKS[name]} {value:.1f} %" for name, value in results.acc1("knn").items()
    )
    return (
        "The same network, pre-trained twice from the same random weights, without labels, with the same "
        "objective (InfoNCE) and planned seconds. The two differ only in the views of an image: two by one "
        f"policy ({one.step:,} steps in {one.seconds:.0f} seconds), or four by four policies ({four.step:,} "
        f"steps in {four.seconds:.0f} seconds). k-NN accuracy on ten shapes: {accuracies}."
    )


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
        note=" ".join(
            [
                "Top-1 percent, on the same machine. Learning rate and temperature were chosen with four "
                "policies, and are the same with one.",
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
