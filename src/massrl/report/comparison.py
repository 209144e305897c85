"""Compare the results of several backbones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from massrl.config.evaluation import CompareConfig
from massrl.errors import DataError, MassrlError
from massrl.evaluation.results import (
    headline_keys,
    metric_keys,
    metric_label,
    metric_text,
    read_results,
    results_name,
    task_title,
)
from massrl.evaluation.task import task_of
from massrl.files import check_outputs, write_json
from massrl.report.content import Block, ReportContent, Section
from massrl.report.figures import (
    BackboneResults,
    Results,
    are_results,
    invariance_tables,
    result_sections,
)
from massrl.report.page import render_report, write_report
from massrl.report.run_page import metric_curves
from massrl.report.tables import Table
from massrl.runs.folder import RunFolder
from massrl.runs.metrics import read_metrics

# Options of an evaluation that no metric depends on.
_NOT_SETTINGS = ("task", "data", "random_init", "cache", "out")
# Settings that list what is evaluated, one result each.
_LISTS = ("fractions", "lists", "sets")


@dataclass(frozen=True)
class Comparison:
    """Results of several backbones.

    Attributes:
        backbones: results by name, by the name of the backbone.
        differences: what else differs between the results of one task, so that they are not comparable.
    """

    backbones: BackboneResults
    differences: list[str]

    @property
    def result_names(self) -> list[str]:
        """Names of the results that any of the backbones has metrics of."""
        names = [
            name
            for results in self.backbones.values()
            for name, item in results.items()
            if headline_keys(item)
        ]
        return list(dict.fromkeys(names))

    def rows(self, metric: str) -> list[list[str]]:
        """Return a row for each backbone: its name, and a metric of each result in percent."""
        return [
            [backbone, *(_text(results.get(name, {}), metric) for name in self.result_names)]
            for backbone, results in self.backbones.items()
        ]

    def headline_rows(self) -> list[list[str]]:
        """Return a row for each backbone: its name, and the headline metric of each result."""
        return [
            [backbone, *(_text(results.get(name, {})) for name in self.result_names)]
            for backbone, results in self.backbones.items()
        ]

    def lines(self) -> list[str]:
        """Return the headline metrics as an aligned table, line by line, and the differences."""
        table = [["percent", *self.result_names], *self.headline_rows()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(width) if column else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in table
        ]
        return [*lines, *(f"different: {difference}" for difference in self.differences)]


def compare_folders(options: CompareConfig) -> tuple[Path, Comparison]:
    """Compare the results in several folders, and write a page and ``comparison.json``.

    Args:
        options: the folders, and where to write.

    Returns:
        The path of the page, and its content.

    Raises:
        DataError: if a folder has no results, or is given twice.
    """
    folders = [RunFolder(Path(folder).expanduser()) for folder in options.folders]
    out = Path(options.out).expanduser()
    pages = {out / "report.html": "compare", out / "comparison.json": "compare"}
    read = [folder.results for folder in folders]
    check_outputs(pages, inputs=read, overwrite=options.overwrite)
    names = _short_names([folder.path.resolve() for folder in folders])
    backbones: dict[str, Results] = {}
    for name, folder in zip(names, folders, strict=True):
        backbones |= _backbones(name, folder.path)
    rows = [
        (name, read_metrics(folder.metrics)) for name, folder in zip(names, folders, strict=True)
    ]
    try:
        return _write(out, backbones, metric_curves(rows))
    except MassrlError:
        raise
    except Exception as error:
        damaged = [name for name, results in backbones.items() if not _is_drawable(name, results)]
        raise DataError(
            f"the results of {', '.join(damaged or backbones)} are damaged: "
            f"{type(error).__name__} {error}; massrl evaluate writes them anew"
        ) from error


def _write(
    out: Path, backbones: dict[str, Results], curves: Sequence[Block]
) -> tuple[Path, Comparison]:
    """Write the page and ``comparison.json``."""
    comparison = Comparison(backbones, _differences(backbones))
    comparison.lines()  # what the command prints can be printed
    content = _content(comparison, curves)
    write_json(
        out / "comparison.json",
        {"tasks": dict(backbones), "differences": comparison.differences},
    )
    return write_report(out, content), comparison


def _content(comparison: Comparison, curves: Sequence[Block]) -> ReportContent:
    backbones, differences = comparison.backbones, ", ".join(comparison.differences)
    tables = [*_metric_tables(comparison), *invariance_tables(backbones)]
    return ReportContent(
        title="Comparison",
        command="compare",
        lead=f"Not comparable in every respect: different {differences}." if differences else "",
        sections=[
            *result_sections(backbones, tables),
            Section("Training", curves, columns=True),
        ],
    )


def _is_drawable(name: str, results: Results) -> bool:
    """Return whether the results of one backbone can be drawn by themselves."""
    try:
        comparison = Comparison({name: results}, _differences({name: results}))
        comparison.lines()
        render_report(_content(comparison, [])).encode()
    except Exception:
        return False
    return True


def _short_names(paths: Sequence[Path]) -> list[str]:
    """Return the folders' names, with as much of their paths as distinguishes them."""
    if len(set(paths)) < len(paths):
        raise DataError("a folder is compared with itself: different folders are wanted")
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return ["/".join(path.parts[-depth:]) for path in paths]


def _backbones(name: str, folder: Path) -> dict[str, Results]:
    """Return the results in a folder: of random weights, of the trained ones, or both."""
    found = {}
    for suffix, random_init in ((", random init", True), ("", False)):
        results = _read(folder, random_init=random_init)
        if results is not None:
            found[f"{name}{suffix}"] = results
    if not found:
        raise DataError(f"{folder} has no results: massrl evaluate writes them")
    return found


def _read(folder: Path, *, random_init: bool) -> Results | None:
    try:
        results = read_results(folder, random_init=random_init)["tasks"]
        valid = are_results(results)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        valid = False
    if not valid:
        name = results_name(random_init=random_init)
        raise DataError(f"{folder / name} has no results of massrl")
    return dict(results)


def _metric_tables(comparison: Comparison) -> list[Table]:
    """Return a table for each metric: a row for each backbone, a column for each result."""
    keys = metric_keys(
        item for results in comparison.backbones.values() for item in results.values()
    )
    header = ["backbone", *map(task_title, comparison.result_names)]
    return [
        Table(title=metric_label(key), header=header, rows=comparison.rows(key), note="Percent.")
        for key in keys
    ]


def _differences(backbones: BackboneResults) -> list[str]:
    """Return what differs between the results of one name, other than the backbone."""
    differences = []
    for name in dict.fromkeys(name for results in backbones.values() for name in results):
        items = [results[name] for results in backbones.values() if name in results]
        for images, part in (("training images", "train"), ("test images", "val")):
            if len({item["data"][part]["fingerprint"] for item in items}) > 1:
                differences.append(f"{images} of {task_title(name)}")
        settings = [_settings(name, item["config"]) for item in items]
        if any(item != settings[0] for item in settings):
            differences.append(f"settings of {task_title(name)}")
    return differences


def _settings(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a result depends on: all of them for a task that is not installed."""
    found = task_of(name)
    keys = found[1].settings if found else [key for key in config if key not in _NOT_SETTINGS]
    return {key: _without_lists(config.get(key)) for key in keys}


def _without_lists(setting: Any) -> Any:
    """Return a section of settings without the list of everything that was evaluated with it."""
    if not isinstance(setting, dict):
        return setting
    return {key: value for key, value in setting.items() if key not in _LISTS}


def _text(result: Mapping[str, Any], metric: str | None = None) -> str:
    return metric_text(result, metric, "{:.2f}")
