"""The figures of several backbones side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from massrl.config.evaluation import CompareConfig
from massrl.errors import DataError
from massrl.evaluation.results import (
    headline_metrics,
    metric_keys,
    metric_label,
    read_results,
    results_name,
    task_title,
)
from massrl.evaluation.task import task_of
from massrl.files import write_json
from massrl.report.content import ReportContent, Table, Tasks
from massrl.report.figures import accuracy_bars, are_figures, invariance_tables
from massrl.report.page import write_report
from massrl.report.run_page import metric_curves
from massrl.runs.folder import RunFolder
from massrl.runs.metrics import read_metrics


@dataclass(frozen=True)
class Comparison:
    """Figures of several backbones.

    Attributes:
        tasks: figures by task, by the name of the backbone.
        doubts: why some of them may not be compared.
    """

    tasks: Tasks
    sanity_warnings: list[str]

    @property
    def outcomes(self) -> list[str]:
        """Every task that has figures of at least one backbone."""
        return list(
            dict.fromkeys(
                name
                for items in self.tasks.values()
                for name, item in items.items()
                if headline_metrics(item)
            )
        )

    def rows(self, figure: str) -> list[list[str]]:
        """A row for each backbone: its name, and the figure for each task."""
        return [
            [backbone, *(_text(figures.get(name, {}).get(figure)) for name in self.outcomes)]
            for backbone, figures in self.tasks.items()
        ]

    def first_rows(self) -> list[list[str]]:
        """The same with the figure that each task is known by."""
        return [
            [
                backbone,
                *(
                    _text(next(iter(headline_metrics(figures.get(name, {})).values()), None))
                    for name in self.outcomes
                ),
            ]
            for backbone, figures in self.tasks.items()
        ]

    def lines(self) -> list[str]:
        """The figures that tasks are known by, for a person, line by line."""
        table = [["percent", *self.outcomes], *self.first_rows()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(width) if place else cell.ljust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in table
        ]
        return [*lines, *(f"not the same: {warning}" for warning in self.sanity_warnings)]


def compare_folders(wanted: CompareConfig) -> tuple[Path, Comparison]:
    """See ``massrl.compare``."""
    folders = [RunFolder(Path(folder).expanduser()) for folder in wanted.folders]
    names = _names(folders)
    tasks: Tasks = {}
    for name, folder in zip(names, folders, strict=True):
        found = {
            f"{name}{word}": items
            for word, random_init in ((", untrained", True), ("", False))
            if (items := _tasks(folder.path, random_init=random_init)) is not None
        }
        if not found:
            raise DataError(f"{folder.path} holds no figures: massrl evaluate makes them")
        tasks |= found
    comparison = Comparison(tasks, _doubts(tasks))
    out = Path(wanted.out).expanduser()
    write_json(out / "comparison.json", {"tasks": tasks, "doubts": comparison.sanity_warnings})
    curves = [
        (name, read_metrics(folder.metrics))
        for name, folder in zip(names, folders, strict=True)
        if folder.metrics.is_file()
    ]
    tables = [
        Table(
            title=metric_label(key),
            header=["backbone", *map(task_title, comparison.outcomes)],
            rows=comparison.rows(key),
            note="Percent.",
        )
        for key in metric_keys(item for items in tasks.values() for item in items.values())
    ]
    content = ReportContent(
        title="Comparison",
        lead=f"Not the same: {', '.join(comparison.sanity_warnings)}."
        if comparison.sanity_warnings
        else "",
        bars=accuracy_bars(tasks),
        tables=[*tables, *invariance_tables(tasks)],
        curves=metric_curves(curves),
    )
    return write_report(out, content), comparison


def _names(folders: list[RunFolder]) -> list[str]:
    """The folders' own names, with as much of their paths as tells them apart."""
    paths = [folder.path.resolve() for folder in folders]
    if len(set(paths)) < len(paths):
        raise DataError("a folder is compared with itself: different ones are wanted")
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return ["/".join(path.parts[-depth:]) for path in paths]


def _tasks(folder: Path, *, random_init: bool) -> dict[str, Any] | None:
    try:
        tasks = dict(read_results(folder, random_init=random_init)["tasks"])
        known = are_figures(tasks)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        known = False
    if not known:
        name = results_name(random_init=random_init)
        raise DataError(f"{folder / name} holds no figures of massrl")
    return tasks


def _doubts(tasks: Tasks) -> list[str]:
    """What differs between figures of one task, beside the backbone."""
    sanity_warnings = []
    for outcome in dict.fromkeys(name for figures in tasks.values() for name in figures):
        items = [figures[outcome] for figures in tasks.values() if outcome in figures]
        for what, key in (("images learnt from", "train"), ("images judged by", "val")):
            if len({item["data"][key]["fingerprint"] for item in items}) > 1:
                sanity_warnings.append(f"{what} of {task_title(outcome)}")
        settings = [_settings(outcome, item["config"]) for item in items]
        if any(item != settings[0] for item in settings):
            sanity_warnings.append(f"settings of {task_title(outcome)}")
    return sanity_warnings


def _own(setting: Any) -> Any:
    """A setting without the list of what else was judged by it."""
    if not isinstance(setting, dict):
        return setting
    return {
        key: value for key, value in setting.items() if key not in ("fractions", "lists", "sets")
    }


def _settings(outcome: str, config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that a result depends on; all of them for a task that is not installed."""
    found = task_of(outcome)
    elsewhere = ("task", "data", "random_init", "cache", "out")
    keys = found[1].settings if found else [key for key in config if key not in elsewhere]
    return {key: _own(config.get(key)) for key in keys}


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
