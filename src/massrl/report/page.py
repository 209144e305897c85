"""The page as a whole: its order and its look."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

from massrl.files import write_text
from massrl.report.charts import NUM_COLOURS, line_chart
from massrl.report.content import ReportContent
from massrl.report.pictures import figure, gallery
from massrl.report.scatter import SCRIPT, scatter, sheets_style
from massrl.report.style import STYLE
from massrl.report.tables import bar_chart, heat_map, plain_table


def write_report(folder: Path, content: ReportContent) -> Path:
    """Write ``report.html`` into a run folder: one file that needs nothing beside it.

    Args:
        folder: the run folder.
        content: what to show.

    Returns:
        The path of the file.

    Raises:
        DataError: if a picture cannot be read.
        TrainingError: if the file cannot be written.
    """
    path = folder / "report.html"
    write_text(path, render_report(content))
    return path


def render_report(content: ReportContent) -> str:
    """The page as a string of HTML."""
    title = escape(content.title)
    colours = _colours(content)
    lead = f'<p class="lead">{escape(content.lead)}</p>' if content.lead else ""
    matrix, confusion = (
        [heat_map(item)] if item is not None else [] for item in (content.matrix, content.confusion)
    )
    config = ""
    if content.config_text:
        config = (
            '<section><details class="card"><summary><h2>Configuration</h2></summary>'
            f"<pre>{escape(content.config_text)}</pre></details></section>"
        )
    parts = [
        _section(
            "Results",
            (bar_chart(bars, colours) for bars in content.bars),
            grid=len(content.bars) > 1,
        ),
        _section(
            "" if content.bars else "Results",
            [*map(plain_table, content.tables), *confusion],
            grid=False,
        ),
        _section("Training", (line_chart(curve, colours) for curve in content.curves), grid=True),
        _section("Pictures", [*map(figure, content.images), *matrix], grid=False),
        _section(
            "Maps of the features",
            (scatter(item, content.maps) for item in content.maps),
            grid=True,
        ),
        _section("Nearest neighbours", map(gallery, content.galleries), grid=False),
        config,
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{title}</title>\n<style>{STYLE}{sheets_style(content.maps)}</style>\n</head>\n<body>\n<main>\n"
        f"<header><h1>{title}</h1>{lead}</header>\n{_facts(content)}\n"
        + "\n".join(part for part in parts if part)
        + f"\n</main>\n{SCRIPT if content.maps else ''}</body>\n</html>\n"
    )


def _colours(content: ReportContent) -> dict[str, int]:
    """A colour for every name that is told from others somewhere, the same on the whole page."""
    names: dict[str, None] = {}
    for bars in content.bars:
        names |= dict.fromkeys(name for name, _ in bars.series)
    for curve in content.curves:
        if len(curve.series) > 1:
            names |= dict.fromkeys(name for name, _, _ in curve.series)
    return {name: number % NUM_COLOURS for number, name in enumerate(names)}


def _facts(content: ReportContent) -> str:
    items = "".join(
        f"<div><dt>{escape(label)}</dt><dd>{escape(value)}</dd></div>"
        for label, value in content.facts
    )
    return f'<dl class="facts">{items}</dl>' if items else ""


def _section(title: str, parts: Iterable[str], *, grid: bool) -> str:
    shown = "\n".join(parts)
    if not shown:
        return ""
    heading = f"<h2>{escape(title)}</h2>" if title else ""
    kind = "grid" if grid else "stack"
    return f'<section>{heading}<div class="{kind}">{shown}</div></section>'
