"""From a run folder to its page: everything is read from the files that the run left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from massrl.config.files import load_config
from massrl.evaluation.results import (
    headline_metrics,
    metric_label,
    read_results,
    task_title,
)
from massrl.evaluation.task import task_of
from massrl.images.pictures import save_picture
from massrl.report.content import Curve, Matrix, Picture, ReportContent, Tasks
from massrl.report.feature_maps import load_feature_report
from massrl.report.figures import (
    _asked,
    _confusion,
    _figures,
    _judged,
    _per_class,
    accuracy_bars,
    are_figures,
    invariance_tables,
)
from massrl.report.matrix_picture import draw_matrix
from massrl.report.page import write_report
from massrl.runs.folder import RunFolder
from massrl.runs.log import duration
from massrl.runs.metrics import read_metrics

_CURVES = (
    ("loss", "Loss", "mean over the pairs of views"),
    ("knn", "k-NN accuracy while training", "percent"),
    ("embedding_std", "Spread of the projections", "1 at random, 0 when collapsed"),
    ("feature_std", "Spread of the features", "1 at random, 0 when collapsed"),
    ("prediction_std", "Spread of the predictions", "1 at random, 0 when collapsed"),
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
        name: item
        for name, random_init in (("untrained", True), ("trained", False))
        if (item := _results(folder.path, random_init=random_init)) is not None
    }
    tasks = {
        name: item["tasks"] for name, item in results.items() if are_figures(item.get("tasks"))
    }
    total = (config.train.max_steps or 0) if config is not None else None
    maps, galleries = [], []
    for name in ("trained", "untrained"):
        for result in tasks.get(name, {}).values():
            if "folder" in result:  # other feature reports are of other weights
                seen, near = load_feature_report(folder.path / result["folder"], name)
                maps += seen
                galleries += near
    content = ReportContent(
        title=folder.path.resolve().name,
        lead=_lead(tasks, rows, total),
        facts=_facts(rows, tasks),
        config_text=folder.config.read_text(encoding="utf-8") if config is not None else "",
        curves=metric_curves([("", rows)]),
        matrix=loss_matrix(folder),
        tables=[*_figures(tasks), *invariance_tables(tasks), *_per_class(tasks)],
        confusion=_confusion(tasks),
        bars=accuracy_bars(tasks),
        images=_pictures(folder, tasks),
        maps=maps,
        galleries=galleries,
    )
    if content.matrix is not None:
        save_picture(draw_matrix(content.matrix), folder.matrix_picture)
    return write_report(folder.path, content)


def _results(folder: Path, *, random_init: bool) -> dict[str, Any] | None:
    try:
        return read_results(folder, random_init=random_init)
    except FileNotFoundError:
        return None


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
        key, value = next(iter(headline_metrics(item).items()))
        if key != "acc1":
            return f"{task_title(name).capitalize()}: {metric_label(key)} {value:.1f} %."
        found = task_of(name)
        how = " from frozen features" if found and found[1].frozen else ""
        return f"{task_title(name)} classifies {value:.1f} % of {_asked(item)}{how}."
    if total is None:
        return ""
    done = int(rows[-1]["step"]) + 1 if rows else 0
    return "Pre-training is complete." if done >= total else f"{done} of {total} steps are made."


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
        key, value = next(iter(headline_metrics(item).items()))
        what = "top 1" if key == "acc1" else metric_label(key)
        facts.append((f"{task_title(name)}, {what}", f"{value:.1f} %"))
    return facts


def _caption(name: str, weights: str) -> str:
    found = task_of(name)
    caption = found[1].caption if found else ""
    return f"{task_title(name)}, {weights}{f': {caption}' if caption else ''}"


def _pictures(folder: RunFolder, tasks: Tasks) -> list[Picture]:
    """What was found in the first images, and the views that were learnt from."""
    pictures = [
        Picture(
            image=folder.path / item["picture"],
            caption=_caption(name, weights),
        )
        for weights, items in tasks.items()
        for name, item in items.items()
        if "picture" in item and (folder.path / item["picture"]).is_file()
    ]
    if folder.views.is_file():
        caption = "The views of the first images, as they were planned"
        pictures.append(Picture(image=folder.views, caption=caption))
    return pictures
