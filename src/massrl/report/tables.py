"""Charts that are tables at heart: bars, the heat map of a matrix, and plain tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from massrl.report.charts import Colours
from massrl.report.content import Bars, Matrix, Table
from massrl.report.pictures import scroll_box

_PALE, _DEEP = (236, 243, 250), (22, 78, 134)  # ends of the heat map's scale, RGB


def bar_chart(bars: Bars, colours: Colours) -> str:
    """Percentages as bars, every one with its number; bars start at zero."""
    known = [
        value
        for _, values in bars.series
        for value in values
        if value is not None and math.isfinite(value)
    ]
    full = _full_length([*known, bars.chance or 0.0])
    bodies = []
    for number, group in enumerate(bars.groups):
        rows = "".join(
            _bar_row(colours.get(name, 0), name, values[number], full=full, chance=bars.chance)
            for name, values in bars.series
        )
        heading = f'<tr><th colspan="2" scope="rowgroup">{escape(group)}</th></tr>'
        bodies.append(f"<tbody>{heading}{rows}</tbody>")
    chance = ""
    if bars.chance is not None:
        chance = f'<p class="note"><i class="chance-key"></i>chance {bars.chance:.1f} %</p>'
    return (
        f'<figure class="card"><figcaption><h3>{escape(bars.title)}</h3></figcaption>'
        f'<table class="bars">{"".join(bodies)}</table>{chance}{_note(bars.note)}</figure>'
    )


def _full_length(values: Sequence[float]) -> float:
    """The percentage that fills the chart: 100, or less where all values are small."""
    largest = max(values, default=0.0)
    return next((full for full in (5.0, 10.0, 25.0, 50.0) if largest <= full * 0.9), 100.0)


def _bar_row(
    colour: int, name: str, value: float | None, *, full: float, chance: float | None
) -> str:
    known = value is not None and math.isfinite(value)
    length = 100 * min(max(value / full, 0.0), 1.0) if known and value is not None else 0.0
    text = f"{value:.1f} %" if known else "not measured"
    bar = f'<span class="bar s{colour}" style="width:{length:.2f}%"></span>' if known else ""
    beside, line = length, ""
    if chance is not None:
        at = 100 * chance / full
        line = f'<span class="chance" style="left:{at:.2f}%"></span>'
        beside = max(length, at)  # a number beside a short bar would lie under the line
    kind = "value" if known else "value missing"
    return (
        f'<tr><th scope="row">{escape(name)}</th><td><div class="track">{bar}{line}'
        f'<span class="{kind}" style="left:{beside:.2f}%">{text}</span></div></td></tr>'
    )


def heat_map(matrix: Matrix) -> str:
    """A matrix as a table of shaded cells; columns carry the numbers of the rows."""
    known = [v for row in matrix.rows for v in row if v is not None and math.isfinite(v)]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    head = "".join(
        f'<th scope="col"><abbr title="{escape(name, quote=True)}">{number}</abbr></th>'
        for number, name in enumerate(matrix.names, start=1)
    )
    rows = "".join(
        f'<tr><th scope="row"><b>{number}</b> {escape(name)}</th>'
        f"{''.join(_cell(value, low=low, high=high, decimals=matrix.decimals) for value in row)}</tr>"
        for number, (name, row) in enumerate(zip(matrix.names, matrix.rows, strict=True), start=1)
    )
    scale = ""
    if high > low:
        scale = (
            f'<p class="scale">{_cell_text(low, matrix.decimals)} <i></i> '
            f"{_cell_text(high, matrix.decimals)}</p>"
        )
    return (
        f'<figure class="card"><figcaption><h3>{escape(matrix.title)}</h3></figcaption>'
        f"{scroll_box(matrix.title)}"
        f'<table class="heat"><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{scale}{_note(matrix.note)}</figure>"
    )


def _cell_text(value: float, decimals: int) -> str:
    return (f"{value:.{decimals}f}" if abs(value) < 100 else f"{value:.4g}").replace("-", "−")


def _cell(value: float | None, *, low: float, high: float, decimals: int) -> str:
    if value is None:
        return '<td class="blank"></td>'
    if not math.isfinite(value):
        return f'<td class="blank">{value}</td>'
    depth = (value - low) / (high - low) if high > low else 0.0
    red, green, blue = (round(p + depth * (d - p)) for p, d in zip(_PALE, _DEEP, strict=True))
    ink = "#fff" if depth > 0.735 else "#000"  # where both stand out equally, about 4.6 : 1
    return f'<td style="background:rgb({red},{green},{blue});color:{ink}">{_cell_text(value, decimals)}</td>'


def plain_table(table: Table) -> str:
    """A table; columns that hold nothing but numbers stand to the right."""
    width = max([len(table.header), *map(len, table.rows)])
    right = [
        column > 0
        and any(column < len(row) and row[column] for row in table.rows)
        and all(_is_number(row[column]) for row in table.rows if column < len(row) and row[column])
        for column in range(width)
    ]
    head = "".join(
        f'<th scope="col"{_right(right[column])}>{escape(name)}</th>'
        for column, name in enumerate(table.header)
    )
    rows = []
    for row in table.rows:
        first = "".join(f'<th scope="row">{escape(cell)}</th>' for cell in row[:1])
        others = "".join(
            f"<td{_right(right[column])}>{escape(cell)}</td>"
            for column, cell in enumerate(row[1:], start=1)
        )
        rows.append(f"<tr>{first}{others}</tr>")
    return (
        f'<figure class="card"><figcaption><h3>{escape(table.title)}</h3></figcaption>'
        f"{scroll_box(table.title)}"
        f'<table class="plain"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
        f"</div>{_note(table.note)}</figure>"
    )


def _right(right: bool) -> str:
    return ' class="number"' if right else ""


def _is_number(text: str) -> bool:
    return any(letter.isdigit() for letter in text) and text.strip()[:1] in set(
        "0123456789+-−.±<>≈~"
    )


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>' if text else ""
