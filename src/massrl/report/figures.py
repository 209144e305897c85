"""Charts and tables of a run's page, made from ``results.json``."""

from __future__ import annotations

from typing import Any

from massrl.evaluation.data import SETS
from massrl.evaluation.results import headline_metrics, metric_keys, metric_label, task_title
from massrl.evaluation.task import task_of
from massrl.report.content import Bars, Matrix, Table, Tasks

_MOST_CLASSES = 30  # in a table or a matrix that is to be read


def are_figures(tasks: Any) -> bool:
    """Whether these are figures by task, with what they rest on, as massrl writes them."""
    return bool(tasks) and all("data" in item and "config" in item for item in tasks.values())


def _judged(tasks: Tasks) -> dict[str, Any]:
    """Figures of the trained weights, of the untrained where there are no others."""
    items = tasks.get("trained") or tasks.get("untrained") or {}
    return {name: item for name, item in items.items() if headline_metrics(item)}


def _asked(figures: dict[str, Any]) -> str:
    """What the judged images are to the backbone: those held out of a run's own are not new to it."""
    if figures["data"].get("held_out"):
        return "images that were held out of the judging, not of the pre-training"
    return "images of another part"


def _grouped(outcomes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Sort results by what their metrics are of: images, other data sets, objects, or something else."""
    groups: dict[str, dict[str, Any]] = {"images": {}, "sets": {}, "objects": {}, "others": {}}
    for name, item in outcomes.items():
        found = task_of(name)
        needs = found[1].needs if found else "images"
        if needs == SETS:
            group = "sets"
        elif needs == "images":
            group = "images" if next(iter(headline_metrics(item)), "") == "acc1" else "others"
        else:
            group = "objects"
        groups[group][name] = item
    return groups


def accuracy_bars(tasks: Tasks) -> list[Bars]:
    """Figures side by side: a group for each task, a bar for each backbone.

    Args:
        tasks: figures by task, by the name of the backbone.
    """
    outcomes: dict[str, dict[str, Any]] = {}
    for items in tasks.values():
        outcomes |= {name: item for name, item in items.items() if name not in outcomes}
    first = {name: next(iter(headline_metrics(item)), "") for name, item in outcomes.items()}
    groups = _grouped({name: item for name, item in outcomes.items() if first[name]})
    bars = []
    for group, title in (
        ("images", ""),
        ("sets", "Other data sets, each by its own metric"),
        ("objects", "Objects in images"),
        ("others", "Other metrics"),
    ):
        names = list(groups[group])
        if not names:
            continue
        about = outcomes[names[0]]["data"]
        same = len({outcomes[name]["data"]["val"]["fingerprint"] for name in names}) == 1
        series = [
            (backbone, [items.get(name, {}).get(first[name]) for name in names])
            for backbone, items in tasks.items()
        ]
        judged = f"{about['val']['num_images']:,} images of {about['val']['name']}"
        bars.append(
            Bars(
                title=title
                or (f"Accuracy on {_asked(outcomes[names[0]])}" if same else "Accuracy"),
                groups=[
                    f"{task_title(n)}, {metric_label(first[n])}" if title else task_title(n)
                    for n in names
                ],
                series=series,
                chance=None if title or not same else 100 / max(1, about["train"]["num_classes"]),
                note=f"{judged}, {'' if title else 'top-1 '}percent."
                if same
                else "Percent; each task has images of its own.",
            )
        )
    return bars


def _figures(tasks: Tasks) -> list[Table]:
    groups = _grouped(_judged(tasks))
    tables = []
    for group, title in (
        ("images", "All metrics"),
        ("sets", "Other data sets"),
        ("objects", "All metrics of objects"),
        ("others", "Other metrics"),
    ):
        outcomes = groups[group]
        keys = metric_keys(outcomes.values())
        if not keys:
            continue
        rows = [
            [
                task_title(name),
                *(_percent(headline_metrics(item).get(key)) for key in keys),
                f"{item.get('labelled_images', item['data']['train']['num_images']):,}",
                f"{item['seconds']:.1f}",
            ]
            for name, item in outcomes.items()
        ]
        header = ["task", *map(metric_label, keys), "images learnt from", "seconds"]
        tables.append(Table(title=title, header=header, rows=rows))
    return tables


def invariance_tables(tasks: Tasks) -> list[Table]:
    """How far each strategy moves the features of each backbone, where that was measured."""
    moved = {
        name: item["invariance"]
        for name, items in tasks.items()
        for item in items.values()
        if "invariance" in item
    }
    if not moved:
        return []
    ways = list(dict.fromkeys(way for values in moved.values() for way in values))
    return [
        Table(
            title="How far the features are moved",
            header=["by", *moved],
            rows=[
                [way, *("–" if v.get(way) is None else f"{v[way]:.2f}" for v in moved.values())]
                for way in ways
            ],
            note="0: the backbone does not see it; 1: as far as to another image. A strategy is "
            "compared with the plain view of the same crop.",
        )
    ]


def _per_class(tasks: Tasks) -> list[Table]:
    tables = []
    for what, judged in (
        ("Accuracy", _grouped(_judged(tasks))["images"]),
        ("Intersection over union", {n: i for n, i in _judged(tasks).items() if "miou" in i}),
    ):
        if not judged:
            continue
        first = next(iter(judged.values()))["per_class"]
        hardest = sorted((name for name in first if first[name] is not None), key=first.__getitem__)
        most = len(hardest) > _MOST_CLASSES
        which = f"the {_MOST_CLASSES} hardest first" if most else "hardest first"
        tables.append(
            Table(
                title=f"{what} by class, {which}",
                header=["class", *map(task_title, judged)],
                rows=[
                    [name, *(_percent(item["per_class"].get(name)) for item in judged.values())]
                    for name in hardest[:_MOST_CLASSES]
                ],
            )
        )
    return tables


def _confusion(tasks: Tasks) -> Matrix | None:
    """What is taken for what, by the best of the tasks that say so."""
    counted = {
        name: item
        for name, item in _grouped(_judged(tasks))["images"].items()
        if item.get("confusion")
    }
    if not counted:
        return None
    name, item = max(counted.items(), key=lambda pair: pair[1]["acc1"])
    names, rows = list(item["per_class"]), item["confusion"]
    if len(names) > _MOST_CLASSES:
        return None
    return Matrix(
        title=f"What is taken for what, {task_title(name)}",
        names=names,
        rows=[[100 * count / max(1, sum(row)) for count in row] for row in rows],
        note="Percent of each class (row) that is taken for a class (column).",
        decimals=1,
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} %"
