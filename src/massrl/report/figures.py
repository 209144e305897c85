"""Charts and tables of evaluation results, made from ``results.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from massrl.errors import counted
from massrl.evaluation.data import SETS
from massrl.evaluation.results import (
    headline_keys,
    headline_metrics,
    metric_keys,
    metric_label,
    metric_text,
    task_title,
)
from massrl.evaluation.task import task_of
from massrl.report.bar_chart import Bars
from massrl.report.content import Block, Section
from massrl.report.heat_map import Matrix
from massrl.report.tables import Table

Results = Mapping[str, dict[str, Any]]
"""Results of one backbone by name, as ``tasks`` in ``results.json`` has them."""

BackboneResults = Mapping[str, Results]
"""Results by the name of the backbone; of one run, ``trained`` and ``random init``."""

_MAX_CLASSES = 30  # in a table or a matrix, so that it can be read


def are_results(results: Any) -> bool:
    """Return whether these are results of massrl, with their provenance."""
    return bool(results) and all("data" in item and "config" in item for item in results.values())


def main_results(backbones: BackboneResults) -> Results:
    """Return the results with metrics of the trained weights, else of the random ones."""
    results = backbones.get("trained") or backbones.get("random init") or {}
    return {name: item for name, item in results.items() if headline_keys(item)}


def describe_test_images(result: Mapping[str, Any]) -> str:
    """Return what the test images are to the backbone, which may have been pre-trained on them."""
    if result["data"].get("held_out"):
        return "images held out from the classifier, but not from pre-training"
    return "the test images"


def result_sections(backbones: BackboneResults, tables: Sequence[Block]) -> list[Section]:
    """Return the charts of all results, and tables below them, as the sections called Results."""
    bars = accuracy_bars(backbones)
    return [
        Section("Results", bars, columns=len(bars) > 1),
        Section("" if bars else "Results", tables),
    ]


def result_tables(backbones: BackboneResults) -> list[Block]:
    """Return the tables of a run's results, those of the trained weights in detail."""
    results = main_results(backbones)
    return [
        *metric_tables(results),
        *invariance_tables(backbones),
        *per_class_tables(results),
        *confusion_matrices(results),
    ]


def accuracy_bars(backbones: BackboneResults) -> list[Bars]:
    """Return bar charts with a group for each result and a bar for each backbone."""
    results: dict[str, dict[str, Any]] = {}
    for items in backbones.values():
        results |= {name: item for name, item in items.items() if name not in results}
    results = {name: item for name, item in results.items() if headline_metrics(item)}
    titles = {
        "images": "",
        "sets": "Other data sets, each by its own metric",
        "objects": "Objects in images",
        "others": "Other metrics",
    }
    return [
        _bars(group, backbones, title=titles[name])
        for name, group in _grouped(results).items()
        if group
    ]


def _grouped(results: Results) -> dict[str, Results]:
    """Group results by what their metrics are of: images, other data sets, objects, or something else."""
    groups: dict[str, dict[str, Any]] = {"images": {}, "sets": {}, "objects": {}, "others": {}}
    for name, item in results.items():
        found = task_of(name)
        needs = found[1].needs if found else "images"
        if needs == SETS:
            group = "sets"
        elif needs == "images":
            group = "images" if next(iter(headline_metrics(item)), "") == "acc1" else "others"
        else:
            group = "objects"
        groups[group][name] = item
    return dict(groups)


def _bars(results: Results, backbones: BackboneResults, *, title: str) -> Bars:
    """Return the chart of one group; without a title, of accuracies on images."""
    first = next(iter(results.values()))
    metrics = {name: next(iter(headline_metrics(item))) for name, item in results.items()}
    fingerprints = {item["data"]["val"]["fingerprint"] for item in results.values()}
    groups = [
        f"{task_title(name)}, {metric_label(key)}" if title else task_title(name)
        for name, key in metrics.items()
    ]
    note, chance = "Percent; the tasks have different test images.", None
    accuracy = "Accuracy"
    if len(fingerprints) == 1:
        data = first["data"]
        note = f"{counted(data['val']['num_images'], 'image')} of {data['val']['name']}, percent."
        if not title:
            note = note.replace("percent", "top-1 percent")
            accuracy = f"Accuracy on {describe_test_images(first)}"
            chance = 100 / max(1, data["train"]["num_classes"])
    return Bars(
        title=title or accuracy,
        groups=groups,
        series=[
            (backbone, [items.get(name, {}).get(key) for name, key in metrics.items()])
            for backbone, items in backbones.items()
        ],
        chance=chance,
        note=note,
    )


def metric_tables(results: Results) -> list[Table]:
    """Return tables of all metrics: a row for each result, a column for each metric."""
    titles = {
        "images": "All metrics",
        "sets": "Other data sets",
        "objects": "All metrics of objects",
        "others": "Other metrics",
    }
    tables = []
    for name, group in _grouped(results).items():
        keys = metric_keys(group.values())
        rows = [
            [
                task_title(result),
                *(metric_text(item, key, "{:.1f} %") for key in keys),
                f"{item.get('labelled_images', item['data']['train']['num_images']):,}",
                f"{item['seconds']:.1f}",
            ]
            for result, item in group.items()
        ]
        if keys:
            header = ["task", *map(metric_label, keys), "training images", "seconds"]
            tables.append(Table(title=titles[name], header=header, rows=rows))
    return tables


def invariance_tables(backbones: BackboneResults) -> list[Table]:
    """Return a table of how far each policy moves the features of each backbone, if that was measured."""
    measured = {
        name: item["invariance"]
        for name, items in backbones.items()
        for item in items.values()
        if "invariance" in item
    }
    if not measured:
        return []
    transforms = dict.fromkeys(key for distances in measured.values() for key in distances)
    return [
        Table(
            title="Invariance of the features",
            header=["transform", *measured],
            rows=[
                [name, *(_number(distances.get(name)) for distances in measured.values())]
                for name in transforms
            ],
            note="Distance between the features of two views of an image: 0 is invariant, 1 is the distance "
            "between different images. A policy is compared with the plain view of the same crop.",
        )
    ]


def per_class_tables(results: Results) -> list[Table]:
    """Return tables of the metrics by class, hardest first, of classification and of segmentation."""
    tables = []
    for metric, group in (
        ("Accuracy", _grouped(results)["images"]),
        ("Intersection over union", {n: item for n, item in results.items() if "miou" in item}),
    ):
        group = {name: item for name, item in group.items() if "per_class" in item}
        if not group:
            continue
        first = next(iter(group.values()))["per_class"]
        hardest = sorted((name for name in first if first[name] is not None), key=first.__getitem__)
        which = (
            f"the {_MAX_CLASSES} hardest first" if len(hardest) > _MAX_CLASSES else "hardest first"
        )
        tables.append(
            Table(
                title=f"{metric} by class, {which}",
                header=["class", *map(task_title, group)],
                rows=[
                    [name, *(_percent(item["per_class"].get(name)) for item in group.values())]
                    for name in hardest[:_MAX_CLASSES]
                ],
            )
        )
    return tables


def confusion_matrices(results: Results) -> list[Matrix]:
    """Return the confusion matrix of the most accurate result, if it has few enough classes to be read."""
    counted = {
        name: item for name, item in _grouped(results)["images"].items() if item.get("confusion")
    }
    if not counted:
        return []
    name, item = max(counted.items(), key=lambda pair: float(pair[1]["acc1"]))
    classes = list(item["per_class"])
    if len(classes) > _MAX_CLASSES:
        return []
    return [
        Matrix(
            title=f"Confusion matrix, {task_title(name)}",
            names=classes,
            rows=[[100 * count / max(1, sum(row)) for count in row] for row in item["confusion"]],
            note="Percent of each class (row) that is predicted as a class (column).",
            decimals=1,
        )
    ]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} %"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
