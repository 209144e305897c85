"""From a run folder to its page: everything is read from the files that the run left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from massrl.config_files import load_config
from massrl.evaluation.judge import title_of
from massrl.report import Bars, Curve, Matrix, Picture, ReportContent, Table, write_report
from massrl.report.matrix_picture import draw_matrix
from massrl.run_folder import RunFolder
from massrl.run_log import duration
from massrl.train.record import read_metrics
from massrl.views.sheet import save_picture

Tasks = dict[str, dict[str, Any]]  # figures by task, by the name of the weights

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
    tasks = {name: item["tasks"] for name, item in results.items() if item.get("tasks")}
    total = (config.train.max_steps or 0) if config is not None else None
    content = ReportContent(
        title=folder.path.resolve().name,
        lead=_lead(tasks, rows, total),
        facts=_facts(rows, tasks),
        config_text=folder.config.read_text(encoding="utf-8") if config is not None else "",
        curves=metric_curves([("", rows)]),
        matrix=loss_matrix(folder),
        tables=[*_figures(tasks), *_per_class(tasks)],
        confusion=_confusion(tasks),
        bars=accuracy_bars(tasks),
        images=[
            Picture(
                image=folder.views, caption="The views of the first images, as they were planned"
            )
        ]
        if folder.views.is_file()
        else [],
    )
    if content.matrix is not None:
        save_picture(draw_matrix(content.matrix), folder.matrix_picture)
    return write_report(folder.path, content)


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
    figures = _judged(tasks)
    if figures:
        name, item = next(iter(figures.items()))
        how = " from frozen features" if name in ("knn", "linear") else ""
        return f"{title_of(name)} classifies {item['acc1']:.1f} % of {_asked(item)}{how}."
    if total is None:
        return ""
    done = int(rows[-1]["step"]) + 1 if rows else 0
    return "Pre-training is complete." if done >= total else f"{done} of {total} steps are made."


def _judged(tasks: Tasks) -> dict[str, Any]:
    """Figures of the trained weights, of the untrained where there are no others."""
    return tasks.get("trained") or tasks.get("untrained") or {}


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
    for name, figures in _judged(tasks).items():
        facts.append((f"{title_of(name)}, top 1", f"{figures['acc1']:.1f} %"))
    return facts


def accuracy_bars(tasks: Tasks) -> list[Bars]:
    """Top-1 accuracies side by side: a group for each task, a bar for each backbone.

    Args:
        tasks: figures by task, by the name of the backbone.
    """
    names = list(dict.fromkeys(name for figures in tasks.values() for name in figures))
    if not names:
        return []
    series = [
        (backbone, [figures[name]["acc1"] if name in figures else None for name in names])
        for backbone, figures in tasks.items()
    ]
    first = next(figures[name] for figures in tasks.values() for name in names if name in figures)
    data = first["data"]
    return [
        Bars(
            title=f"Accuracy on {_asked(first)}",
            groups=[title_of(name) for name in names],
            series=series,
            chance=100 / max(1, data["train"]["num_classes"]),
            note=f"{data['val']['num_images']:,} images of {data['val']['name']}, top-1 percent.",
        )
    ]


def _figures(tasks: Tasks) -> list[Table]:
    figures = _judged(tasks)
    if not figures:
        return []
    return [
        Table(
            title="Every figure",
            header=["task", "Acc@1", "Acc@5", "mean per class", "images learnt from", "seconds"],
            rows=[
                [
                    title_of(name),
                    _percent(item["acc1"]),
                    _percent(item["acc5"]),
                    _percent(item["mean_per_class"]),
                    f"{item.get('labelled_images', item['data']['train']['num_images']):,}",
                    f"{item['seconds']:.1f}",
                ]
                for name, item in figures.items()
            ],
        )
    ]


def _per_class(tasks: Tasks) -> list[Table]:
    figures = _judged(tasks)
    if not figures:
        return []
    first = next(iter(figures.values()))
    hardest = sorted(
        (name for name, value in first["per_class"].items() if value is not None),
        key=lambda name: first["per_class"][name],
    )
    most = len(hardest) > _MOST_CLASSES
    return [
        Table(
            title=f"The {_MOST_CLASSES} hardest classes"
            if most
            else "Accuracy by class, hardest first",
            header=["class", *map(title_of, figures)],
            rows=[
                [name, *(_percent(item["per_class"].get(name)) for item in figures.values())]
                for name in hardest[:_MOST_CLASSES]
            ],
        )
    ]


def _confusion(tasks: Tasks) -> Matrix | None:
    """What is taken for what, by the best of the tasks that say so."""
    figures = _judged(tasks)
    counted = {name: item for name, item in figures.items() if item.get("confusion")}
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


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} %"
