"""The report of a run, or of a backbone's evaluations, from the files in its folder."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from massrl.config.files import load_config
from massrl.errors import DataError, counted
from massrl.evaluation.results import (
    DAMAGED,
    headline_keys,
    headline_metrics,
    metric_label,
    metric_text,
    read_results,
    results_name,
    task_title,
)
from massrl.evaluation.task import task_of
from massrl.files import drawn_again, inside, read_json
from massrl.report.content import Block, Details, PageContext, ReportContent, Section
from massrl.report.feature_maps import load_feature_report
from massrl.report.figures import (
    BackboneResults,
    Results,
    are_results,
    describe_test_images,
    main_results,
    result_sections,
    result_tables,
)
from massrl.report.heat_map import Matrix
from massrl.report.line_chart import Curve
from massrl.report.page import render_report, write_report
from massrl.report.pictures import Picture
from massrl.report.tables import Table
from massrl.runs.folder import RunFolder
from massrl.runs.log import duration
from massrl.runs.metrics import read_metrics
from massrl.runs.verdict import BAND, verdicts

logger = logging.getLogger("massrl")

Rows = Sequence[Mapping[str, str]]  # of metrics.csv

# Columns of metrics.csv with a chart, in their order: its title and what it shows.
_CURVES = {
    "loss": ("Loss", "mean over the pairs of views"),
    "knn": ("k-NN accuracy while training", "percent"),
    "embedding_std": ("Standard deviation of the projections", BAND),
    "feature_std": ("Standard deviation of the features", "1 at random, 0 when collapsed"),
    "prediction_std": ("Standard deviation of the predictions", "1 at random, 0 when collapsed"),
    "effective_rank": ("Effective rank of the projections", "dimensions"),
    "lr": ("Learning rate", "per optimiser step"),
    "gradient_norm": ("Gradient norm", "L2 norm over all networks"),
    "data_wait": ("Waiting for data", "fraction of a step's time"),
    "tau": ("Momentum of the target", "τ"),
}
_NOT_SMOOTHED = ("knn", "lr", "tau")


def report_run(folder: RunFolder) -> Path:
    """Write ``report.html`` of a run, or of a backbone's evaluations.

    Args:
        folder: the folder; every part of the page is made from a file in it, and left out without it.

    Returns:
        The path of the page.
    """
    backbones = {
        name: results
        for name, random_init in (("random init", True), ("trained", False))
        if (results := _read_results(folder.path, random_init=random_init))
    }
    rows: Rows = []
    said: list[Table] = []
    with drawn_again(folder.metrics.name):
        found = read_metrics(folder.metrics)
        _run_facts(found)
        rows, said = found, verdict_tables(found)
    results = main_results(backbones)
    content = ReportContent(
        title=folder.path.resolve().name,
        lead=_lead(folder, results, rows),
        facts=[*_run_facts(rows), *_result_facts(results)],
        sections=[
            *result_sections(backbones, result_tables(backbones)),
            Section("Training", said),
            Section("" if rows else "Training", metric_curves([("", rows)]), columns=True),
            Section("Pictures", [*_pictures(folder, backbones), *loss_matrices(folder)]),
            *_feature_sections(folder, backbones),
            configuration_section(folder),
        ],
    )
    return write_report(folder.path, content)


def _whole(name: str, blocks: Iterable[Block]) -> list[Block]:
    """Return the blocks of a file that can be drawn; of the others a warning tells."""
    kept = []
    for block in blocks:
        with drawn_again(name):
            block.html(PageContext(block.series_names()))
            kept.append(block)
    return kept


def metric_curves(runs: Sequence[tuple[str, Rows]]) -> list[Curve]:
    """Return a chart for each column of ``metrics.csv`` that has values, with a line for each run.

    Args:
        runs: name and rows of each run.
    """
    curves = []
    for column, (title, label) in _CURVES.items():
        series: list[tuple[str, Sequence[float], Sequence[float]]] = []
        for name, rows in runs:
            points = [(float(row["step"]), float(row[column])) for row in rows if row.get(column)]
            if points:
                xs, ys = zip(*points, strict=True)
                series.append((name or title, xs, ys))
        if column == "loss":
            series += _guessing(runs)
        if series:
            smooth = column not in _NOT_SMOOTHED
            curves.append(Curve(title=title, y_label=label, series=series, smooth=smooth))
    return curves


def _guessing(
    runs: Sequence[tuple[str, Rows]],
) -> list[tuple[str, Sequence[float], Sequence[float]]]:
    """Return the lines of the loss of guessing: one for each run, or a common one where it is the same."""
    lines = {
        name: [(float(row["step"]), float(row["chance"])) for row in rows if row.get("chance")]
        for name, rows in runs
    }
    lines = {name: points for name, points in lines.items() if points}
    values = {value for points in lines.values() for _, value in points}
    if len(values) == 1:
        lines = {"": max(lines.values(), key=lambda points: points[-1][0])}
    return [
        (
            f"guessing, {name}" if name else "guessing",
            [x for x, _ in points],
            [y for _, y in points],
        )
        for name, points in lines.items()
    ]


def verdict_tables(rows: Rows) -> list[Table]:
    """Return a table of what the curves say, nothing without curves."""
    found = verdicts(rows)
    header = ["is the run …", "answer"]
    return [Table(title="What the curves say", header=header, rows=found)] if found else []


def loss_matrices(folder: RunFolder) -> list[Matrix]:
    """Return the loss of every pair of views at the end of a run; nothing before that."""
    if not folder.matrix.is_file():
        return []
    note = (
        "Mean over about the last fifty steps. A row is trained to match its columns; a low loss means that "
        "one view is easily predicted from the other."
    )
    found: list[Matrix] = []
    with drawn_again(folder.matrix.name):
        content = read_json(folder.matrix, {"views": list, "loss": list})
        matrix = Matrix(names=content["views"], rows=content["loss"], note=note)
        matrix.html(PageContext())
        found.append(matrix)
    return found


def configuration_section(folder: RunFolder) -> Section:
    """Return the configuration of a run, closed; nothing where there is no run."""
    if not folder.config.is_file() or inside(folder.path, folder.config.name) is None:
        return Section("", [])
    text = folder.config.read_text(encoding="utf-8", errors="replace")
    return Section("", [Details(title="Configuration", text=text)])


def _read_results(folder: Path, *, random_init: bool) -> Results:
    """Return the results in a folder, except those that cannot be drawn."""
    name = results_name(random_init=random_init)
    found: dict[str, dict[str, Any]] = {}
    try:
        results = read_results(folder, random_init=random_init)["tasks"]
    except FileNotFoundError:
        return {}
    except DAMAGED as error:
        logger.warning("%s is left out: it is damaged (%s)", name, type(error).__name__)
        return {}
    for task, item in results.items() if isinstance(results, dict) else ():
        alone = {task: item}
        with drawn_again(f"{task} of {name}"):
            if not are_results(alone):
                raise DataError("it is damaged: massrl evaluate writes it anew")
            shown = {"trained": alone}
            _lead(RunFolder(folder), main_results(shown), [])
            facts = _result_facts(main_results(shown))
            sections = result_sections(shown, result_tables(shown))
            render_report(ReportContent(title=task, facts=facts, sections=sections))
            found |= alone
    return found


def _lead(folder: RunFolder, results: Results, rows: Rows) -> str:
    """Return the first result, or else how far training is, in one sentence."""
    for name, item in results.items():
        key, value = next(iter(headline_metrics(item).items()), ("", 0.0))
        if not key:
            continue
        if key != "acc1":
            return f"{task_title(name).capitalize()}: {metric_label(key)} {value:.1f} %."
        found = task_of(name)
        how = ", from frozen features" if found and found[1].frozen else ""
        images = describe_test_images(item)
        return f"{task_title(name)} classifies {value:.1f} % of {images} correctly{how}."
    if not folder.config.is_file():
        return ""
    total = load_config(folder.config).train.max_steps
    done = int(rows[-1]["step"]) + 1 if rows else 0
    if total is None:
        return f"{counted(done, 'step')} of a run of unknown length."
    return "Pre-training is complete." if done >= total else f"{done} of {total} steps are done."


def _run_facts(rows: Rows) -> list[tuple[str, str]]:
    if not rows:
        return []
    last = rows[-1]
    facts = [
        ("optimiser steps", f"{int(last['step']) + 1:,}"),
        ("epochs", f"{float(last['epoch']):.3g}"),
        ("training time", duration(float(last["seconds"]))),
    ]
    if last["images_per_second"]:
        facts.append(("images per second", f"{float(last['images_per_second']):.0f}"))
    if int(last.get("skipped") or 0):
        facts.append(("broken images skipped", last["skipped"]))
    return facts


def _result_facts(results: Results) -> list[tuple[str, str]]:
    facts = []
    for name, item in results.items():
        key = headline_keys(item)[0]
        label = "top 1" if key == "acc1" else metric_label(key)
        facts.append((f"{task_title(name)}, {label}", metric_text(item, key, "{:.1f} %")))
    return facts


def _pictures(folder: RunFolder, backbones: BackboneResults) -> list[Block]:
    """Return the pictures that tasks drew, and the contact sheet of the run."""
    pictures: list[Block] = []
    for backbone, results in backbones.items():
        for name, item in results.items():
            path = inside(folder.path, item.get("picture"))
            if "picture" in item and path is not None and path.is_file():
                found = task_of(name)
                caption = f": {found[1].caption}" if found and found[1].caption else ""
                caption = f"{task_title(name)}, {backbone}{caption}"
                pictures += _whole(path.name, [Picture(image=path, caption=caption)])
    sheet = inside(folder.path, folder.views.name)
    if sheet is not None and sheet.is_file():
        caption = "Planned views of the first images"
        pictures += _whole(sheet.name, [Picture(image=sheet, caption=caption)])
    return pictures


def _feature_sections(folder: RunFolder, backbones: BackboneResults) -> list[Section]:
    """Return the maps of the features, and the nearest neighbours."""
    maps: list[Block] = []
    galleries: list[Block] = []
    for backbone in ("trained", "random init"):
        for item in backbones.get(backbone, {}).values():
            # Other feature reports in the folder are of other weights.
            path = inside(folder.path, item["folder"]) if "folder" in item else None
            if path is not None:
                with drawn_again(path.name):
                    shown, nearest = load_feature_report(path, backbone)
                    maps += _whole(path.name, shown)
                    galleries += _whole(path.name, nearest)
    return [
        Section("Maps of the features", maps, columns=True),
        Section("Nearest neighbours", galleries),
    ]
