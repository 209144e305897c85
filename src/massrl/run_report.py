"""From a run folder to its page: everything is read from the files that the run left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from massrl.config_files import load_config
from massrl.report import Bars, Curve, Matrix, Picture, ReportContent, Table, write_report
from massrl.report.matrix_picture import draw_matrix
from massrl.run_folder import RunFolder
from massrl.run_log import duration
from massrl.train.record import read_metrics
from massrl.views.sheet import save_picture

TASK_NAMES = {"knn": "k-NN", "linear": "linear probe"}
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
    """Write ``report.html`` of a run from its files: configuration, metrics, matrix, views, results."""
    config = load_config(folder.config)
    rows = read_metrics(folder.metrics)
    results = {
        name: json.loads(path.read_text(encoding="utf-8"))
        for name, path in (
            ("untrained", folder.path / "results-untrained.json"),
            ("trained", folder.results),
        )
        if path.is_file()
    }
    content = ReportContent(
        title=folder.path.resolve().name,
        lead=_lead(results, rows, config.train.max_steps or 0),
        facts=_facts(rows, results),
        config_text=folder.config.read_text(encoding="utf-8"),
        curves=metric_curves([("", rows)]),
        matrix=loss_matrix(folder),
        tables=_per_class(results),
        bars=_bars(results),
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


def _lead(results: dict[str, Any], rows: list[dict[str, str]], total: int) -> str:
    figures = results.get("trained", {})
    if "knn" in figures:
        return f"k-NN classifies {figures['knn']['acc1']:.1f} % of {_asked(figures)} from frozen features."
    done = int(rows[-1]["step"]) + 1 if rows else 0
    return "Pre-training is complete." if done >= total else f"{done} of {total} steps are made."


def _asked(figures: dict[str, Any]) -> str:
    """What the judged images are to the backbone: those held out of a run's own are not new to it."""
    if figures["data"].get("held_out"):
        return "images that were held out of the judging, not of the pre-training"
    return "images of another part"


def _facts(rows: list[dict[str, str]], results: dict[str, Any]) -> list[tuple[str, str]]:
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
    figures = results.get("trained", {})
    for task, name in TASK_NAMES.items():
        if task in figures:
            facts.append((f"{name}, top 1", f"{figures[task]['acc1']:.1f} %"))
    return facts


def _bars(results: dict[str, Any]) -> list[Bars]:
    tasks = [task for task in TASK_NAMES if any(task in item for item in results.values())]
    if not tasks:
        return []
    series = [
        (name, [figures[task]["acc1"] if task in figures else None for task in tasks])
        for name, figures in results.items()
    ]
    data = next(iter(results.values()))["data"]
    return [
        Bars(
            title=f"Frozen features on {_asked(next(iter(results.values())))}",
            groups=[TASK_NAMES[task] for task in tasks],
            series=series,
            chance=100 / max(1, data["train"]["num_classes"]),
            note=f"{data['val']['num_images']:,} images of {data['val']['name']}, top-1 percent.",
        )
    ]


def _per_class(results: dict[str, Any]) -> list[Table]:
    figures = results.get("trained", {})
    tasks = [task for task in TASK_NAMES if task in figures]
    if not tasks:
        return []
    names = list(figures[tasks[0]]["per_class"])
    return [
        Table(
            title="Accuracy by class",
            header=["class", *(TASK_NAMES[task] for task in tasks)],
            rows=[
                [name, *(_percent(figures[task]["per_class"][name]) for task in tasks)]
                for name in names
            ],
        )
    ]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} %"
