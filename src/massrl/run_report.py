"""From a run folder to its page: everything is read from the files that the run left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from massrl.config_files import load_config
from massrl.evaluation.judge import FIGURES, LOOK, TRANSFER, figures_of, title_of
from massrl.looking import what_was_looked_at
from massrl.report import Bars, Curve, Matrix, Picture, ReportContent, Table, write_report
from massrl.report.matrix_picture import draw_matrix
from massrl.run_folder import RunFolder
from massrl.run_log import duration
from massrl.train.record import read_metrics
from massrl.views.sheet import save_picture

Tasks = dict[str, dict[str, Any]]  # figures by task, by the name of the weights

_SHOWN = {
    "detect": "the truth to the left, what was found with a score of a half or more to the right",
    "segment": "the image, the truth, and what was said",
}
_MOST_CLASSES = 30  # in a table or a matrix that is to be read
_CURVES = (
    ("loss", "Loss", "mean over the pairs of views"),
    ("knn", "k-NN accuracy while training", "percent"),
    ("deviation", "Spread of the projections", "1 at random, 0 when collapsed"),
    ("feature_deviation", "Spread of the features", "1 at random, 0 when collapsed"),
    ("prediction_deviation", "Spread of the predictions", "1 at random, 0 when collapsed"),
    ("effective_rank", "Effective rank of the projections", "dimensions"),
    ("lr", "Learning rate", "per step"),
    ("gradient_norm", "Length of the gradient", "all networks together"),
    ("data_wait", "Waiting for data", "share of a step's time"),
    ("tau", "Momentum of the target", "τ"),
)


def report_run(folder: RunFolder) -> Path:
    """Write ``report.html`` of a run, or of a backbone's evaluations, from the files in its folder."""
    config = load_config(folder.config) if folder.config.is_file() else None
    rows = read_metrics(folder.metrics) if folder.metrics.is_file() else []
    results = {
        name: json.loads(path.read_text(encoding="utf-8"))
        for name, path in (
            ("untrained", folder.path / "results-untrained.json"),
            ("trained", folder.results),
        )
        if path.is_file()
    }
    tasks = {
        name: item["tasks"] for name, item in results.items() if are_figures(item.get("tasks"))
    }
    total = (config.train.max_steps or 0) if config is not None else None
    maps, galleries = [], []
    for name, word in (("trained", ""), ("untrained", "-untrained")):
        if LOOK not in tasks.get(name, {}):
            continue  # what lies there is of other weights
        seen, near = what_was_looked_at(folder.path / f"look{word}", name)
        maps += seen
        galleries += near
    content = ReportContent(
        title=folder.path.resolve().name,
        lead=_lead(tasks, rows, total),
        facts=_facts(rows, tasks),
        config_text=folder.config.read_text(encoding="utf-8") if config is not None else "",
        curves=metric_curves([("", rows)]),
        matrix=loss_matrix(folder),
        tables=[*_figures(tasks), *moved_tables(tasks), *_per_class(tasks)],
        confusion=_confusion(tasks),
        bars=accuracy_bars(tasks),
        images=_pictures(folder, tasks),
        maps=maps,
        galleries=galleries,
    )
    if content.matrix is not None:
        save_picture(draw_matrix(content.matrix), folder.matrix_picture)
    return write_report(folder.path, content)


def are_figures(tasks: Any) -> bool:
    """Whether these are figures by task, with what they rest on, as massrl writes them."""
    return bool(tasks) and all("data" in item and "config" in item for item in tasks.values())


def metric_curves(runs: list[tuple[str, list[dict[str, str]]]]) -> list[Curve]:
    """A chart for every column of ``metrics.csv`` that has numbers, a line for every run.

    Args:
        runs: name and rows of each run.
    """
    curves = []
    for column, title, label in _CURVES:
        series = []
        for name, rows in runs:
            points = [(float(row["step"]), float(row[column])) for row in rows if row.get(column)]
            if points:
                xs, ys = zip(*points, strict=True)
                series.append((name or title, xs, ys))
        if series:
            smooth = column not in ("knn", "lr", "tau")
            curves.append(Curve(title=title, y_label=label, series=series, smooth=smooth))
    return curves


def loss_matrix(folder: RunFolder) -> Matrix | None:
    """The loss of every pair of views at the end of a run, ``None`` before that."""
    if not folder.matrix.is_file():
        return None
    content = json.loads(folder.matrix.read_text(encoding="utf-8"))
    return Matrix(
        names=content["views"],
        rows=content["loss"],
        note="Mean over about the last fifty steps: a row learns from its columns, and a low number "
        "says that the one view tells much about the other.",
    )


def _lead(tasks: Tasks, rows: list[dict[str, str]], total: int | None) -> str:
    for name, item in _judged(tasks).items():
        key, value = next(iter(figures_of(item).items()))
        if key != "acc1":
            return f"{title_of(name).capitalize()}: {FIGURES[key]} {value:.1f} %."
        how = " from frozen features" if name in ("knn", "linear") else ""
        return f"{title_of(name)} classifies {value:.1f} % of {_asked(item)}{how}."
    if total is None:
        return ""
    done = int(rows[-1]["step"]) + 1 if rows else 0
    return "Pre-training is complete." if done >= total else f"{done} of {total} steps are made."


def _judged(tasks: Tasks) -> dict[str, Any]:
    """Figures of the trained weights, of the untrained where there are no others."""
    items = tasks.get("trained") or tasks.get("untrained") or {}
    return {name: item for name, item in items.items() if figures_of(item)}


def _asked(figures: dict[str, Any]) -> str:
    """What the judged images are to the backbone: those held out of a run's own are not new to it."""
    if figures["data"].get("held_out"):
        return "images that were held out of the judging, not of the pre-training"
    return "images of another part"


def _facts(rows: list[dict[str, str]], tasks: Tasks) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    if rows:
        last = rows[-1]
        facts += [
            ("optimiser steps", f"{int(last['step']) + 1:,}"),
            ("epochs", f"{float(last['epoch']):.3g}"),
            ("training time", duration(float(last["seconds"]))),
        ]
        if last["images_per_second"]:
            facts.append(("images per second", f"{float(last['images_per_second']):.0f}"))
        if int(last.get("skipped") or 0):
            facts.append(("broken images skipped", last["skipped"]))
    for name, item in _judged(tasks).items():
        key, value = next(iter(figures_of(item).items()))
        what = "top 1" if key == "acc1" else FIGURES[key]
        facts.append((f"{title_of(name)}, {what}", f"{value:.1f} %"))
    return facts


def accuracy_bars(tasks: Tasks) -> list[Bars]:
    """Figures side by side: a group for each task, a bar for each backbone.

    Args:
        tasks: figures by task, by the name of the backbone.
    """
    outcomes: dict[str, dict[str, Any]] = {}
    for items in tasks.values():
        outcomes |= {name: item for name, item in items.items() if name not in outcomes}
    first = {name: next(iter(figures_of(item)), "") for name, item in outcomes.items()}
    moved = [name for name in first if name.startswith(TRANSFER)]
    images = [name for name, key in first.items() if key == "acc1" and name not in moved]
    objects = [name for name, key in first.items() if key and name not in (*images, *moved)]
    bars = []
    for names, title in (
        (images, ""),
        (moved, "Other data sets, each by its own measure"),
        (objects, "Objects in images"),
    ):
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
                    f"{title_of(n)}, {FIGURES[first[n]]}" if title else title_of(n) for n in names
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
    judged = _judged(tasks)
    tables = []
    moved = {name: item for name, item in judged.items() if name.startswith(TRANSFER)}
    for title, outcomes in (
        ("Every figure", {n: i for n, i in judged.items() if "acc1" in i and n not in moved}),
        ("Other data sets", moved),
        (
            "Every figure of objects",
            {n: i for n, i in judged.items() if "acc1" not in i and n not in moved},
        ),
    ):
        keys = [
            key for key in FIGURES if any(key in figures_of(item) for item in outcomes.values())
        ]
        if not keys:
            continue
        rows = [
            [
                title_of(name),
                *(_percent(figures_of(item).get(key)) for key in keys),
                f"{item.get('labelled_images', item['data']['train']['num_images']):,}",
                f"{item['seconds']:.1f}",
            ]
            for name, item in outcomes.items()
        ]
        header = ["task", *(FIGURES[key] for key in keys), "images learnt from", "seconds"]
        tables.append(Table(title=title, header=header, rows=rows))
    return tables


def moved_tables(tasks: Tasks) -> list[Table]:
    """How far each strategy moves the features of each backbone, where that was measured."""
    moved = {name: items["look"]["moved"] for name, items in tasks.items() if "look" in items}
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
        (
            "Accuracy",
            {n: i for n, i in _judged(tasks).items() if "acc1" in i and not n.startswith(TRANSFER)},
        ),
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
                header=["class", *map(title_of, judged)],
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
        for name, item in _judged(tasks).items()
        if item.get("confusion") and not name.startswith(TRANSFER)
    }
    if not counted:
        return None
    name, item = max(counted.items(), key=lambda pair: pair[1]["acc1"])
    names, rows = list(item["per_class"]), item["confusion"]
    if len(names) > _MOST_CLASSES:
        return None
    return Matrix(
        title=f"What is taken for what, {title_of(name)}",
        names=names,
        rows=[[100 * count / max(1, sum(row)) for count in row] for row in rows],
        note="Percent of each class (row) that is taken for a class (column).",
        decimals=1,
    )


def _pictures(folder: RunFolder, tasks: Tasks) -> list[Picture]:
    """What was found in the first images, and the views that were learnt from."""
    pictures = [
        Picture(
            image=folder.path / item["picture"],
            caption=f"{title_of(name)}, {weights}: {_SHOWN[name]}",
        )
        for weights, items in tasks.items()
        for name, item in items.items()
        if "picture" in item and (folder.path / item["picture"]).is_file()
    ]
    if folder.views.is_file():
        caption = "The views of the first images, as they were planned"
        pictures.append(Picture(image=folder.views, caption=caption))
    return pictures


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} %"
