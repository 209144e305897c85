"""Bar charts, heat maps and plain tables, all of them HTML tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from massrl.report.content import Block, PageContext
from massrl.report.pictures import scroll_box

_PALE, _DEEP = (236, 243, 250), (22, 78, 134)  # ends of the heat map's scale, RGB


@dataclass(frozen=True, kw_only=True)
class Bars(Block):
    """Percentages as bars that start at zero, each with its number.

    Attributes:
        title: of the chart.
        groups: names of the groups, e.g. ``("k-NN", "linear")``.
        series: name and one percentage per group, e.g. ``("MASSRL", (71.2, 74.0))``; ``None`` where
            nothing was measured.
        chance: accuracy of guessing, percent, drawn as a line; ``None`` for no line.
        note: one sentence under the chart.
    """

    title: str
    groups: Sequence[str]
    series: Sequence[tuple[str, Sequence[float | None]]]
    chance: float | None = None
    note: str = ""

    def series_names(self) -> Sequence[str]:
        """Return the names of the series."""
        return [name for name, _ in self.series]

    def html(self, page: PageContext) -> str:
        """Return the chart as a table with a row for each bar."""
        full = _full_length(
            [*_finite(v for _, values in self.series for v in values), self.chance or 0.0]
        )
        bodies = []
        for number, group in enumerate(self.groups):
            rows = "".join(
                _bar_row(
                    name, values[number], colour=page.colour(name), full=full, chance=self.chance
                )
                for name, values in self.series
            )
            heading = f'<tr><th colspan="2" scope="rowgroup">{escape(group)}</th></tr>'
            bodies.append(f"<tbody>{heading}{rows}</tbody>")
        chance = ""
        if self.chance is not None:
            chance = f'<p class="note"><i class="chance-key"></i>chance {self.chance:.1f} %</p>'
        return (
            f'<figure class="card"><figcaption><h3>{escape(self.title)}</h3></figcaption>'
            f'<table class="bars">{"".join(bodies)}</table>{chance}{_note(self.note)}</figure>'
        )


def _finite(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def _full_length(values: Sequence[float]) -> float:
    """Return the percentage at full length: 100, or less where all values are small."""
    largest = max(values, default=0.0)
    return next((full for full in (5.0, 10.0, 25.0, 50.0) if largest <= full * 0.9), 100.0)


def _bar_row(
    name: str, value: float | None, *, colour: int, full: float, chance: float | None
) -> str:
    bar, text, kind, length = "", "not measured", "value missing", 0.0
    if value is not None and math.isfinite(value):
        length = 100 * min(max(value / full, 0.0), 1.0)
        bar = f'<span class="bar s{colour}" style="width:{length:.2f}%"></span>'
        text, kind = f"{value:.1f} %", "value"
    left, line = length, ""
    if chance is not None:
        position = 100 * chance / full
        line = f'<span class="chance" style="left:{position:.2f}%"></span>'
        left = max(length, position)  # so that the line does not cross the number of a short bar
    return (
        f'<tr><th scope="row">{escape(name)}</th><td><div class="track">{bar}{line}'
        f'<span class="{kind}" style="left:{left:.2f}%">{text}</span></div></td></tr>'
    )


@dataclass(frozen=True, kw_only=True)
class Matrix(Block):
    """A number for every ordered pair, as a heat map.

    Attributes:
        title: of the chart.
        names: of the rows, which are those of the columns too.
        rows: the numbers; ``None`` where there is none.
        note: one sentence under it.
        decimals: number of decimals shown.
    """

    title: str = "Loss of every ordered pair of views"
    names: Sequence[str]
    rows: Sequence[Sequence[float | None]]
    note: str = ""
    decimals: int = 3

    def html(self, page: PageContext) -> str:
        """Return a table of shaded cells, whose columns have the numbers of the rows."""
        finite = _finite(value for row in self.rows for value in row)
        low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
        head = "".join(
            f'<th scope="col"><abbr title="{escape(name, quote=True)}">{number}</abbr></th>'
            for number, name in enumerate(self.names, start=1)
        )
        rows = "".join(
            f'<tr><th scope="row"><b>{number}</b> {escape(name)}</th>'
            f"{''.join(_cell(value, low=low, high=high, decimals=self.decimals) for value in row)}</tr>"
            for number, (name, row) in enumerate(zip(self.names, self.rows, strict=True), start=1)
        )
        scale = ""
        if high > low:
            scale = (
                f'<p class="scale">{_cell_text(low, self.decimals)} <i></i> '
                f"{_cell_text(high, self.decimals)}</p>"
            )
        return (
            f'<figure class="card"><figcaption><h3>{escape(self.title)}</h3></figcaption>'
            f"{scroll_box(self.title)}"
            f'<table class="heat"><thead><tr><td></td>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table></div>{scale}{_note(self.note)}</figure>"
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
    ink = "#fff" if depth > 0.735 else "#000"  # where both have the same contrast, about 4.6 : 1
    return f'<td style="background:rgb({red},{green},{blue});color:{ink}">{_cell_text(value, decimals)}</td>'


@dataclass(frozen=True, kw_only=True)
class Table(Block):
    """Rows of text, shown as they are given.

    Attributes:
        title: of the table.
        header: names of the columns.
        rows: the cells; the first one names the row, a column of numbers is aligned to the right.
        note: one sentence under it.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def html(self, page: PageContext) -> str:
        """Return the table with its title."""
        width = max([len(self.header), *map(len, self.rows)])
        styles = [' class="number"' if self._is_numeric(column) else "" for column in range(width)]
        head = "".join(
            f'<th scope="col"{style}>{escape(name)}</th>'
            for name, style in zip(self.header, styles, strict=False)
        )
        rows = []
        for row in self.rows:
            first = "".join(f'<th scope="row">{escape(cell)}</th>' for cell in row[:1])
            others = "".join(
                f"<td{style}>{escape(cell)}</td>"
                for cell, style in zip(row[1:], styles[1:], strict=False)
            )
            rows.append(f"<tr>{first}{others}</tr>")
        return (
            f'<figure class="card"><figcaption><h3>{escape(self.title)}</h3></figcaption>'
            f"{scroll_box(self.title)}"
            f'<table class="plain"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
            f"</div>{_note(self.note)}</figure>"
        )

    def _is_numeric(self, column: int) -> bool:
        cells = [row[column] for row in self.rows if column < len(row) and row[column]]
        return column > 0 and bool(cells) and all(map(_is_number, cells))


def _is_number(text: str) -> bool:
    return any(letter.isdigit() for letter in text) and text.strip()[:1] in set(
        "0123456789+-−.±<>≈~"
    )


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>' if text else ""
