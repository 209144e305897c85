"""Heat maps in HTML: square matrices such as losses of pairs and confusion matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from massrl.report.content import Block, PageContext, finite_values, note_html
from massrl.report.pictures import scroll_box

_PALE, _DEEP = (236, 243, 250), (22, 78, 134)  # ends of the heat map's scale, RGB


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
        finite = finite_values(value for row in self.rows for value in row)
        head = "".join(
            f'<th scope="col"><abbr title="{escape(name, quote=True)}">{number}</abbr></th>'
            for number, name in enumerate(self.names, start=1)
        )
        rows = "".join(
            f'<tr><th scope="row"><b>{number}</b> {escape(name)}</th>'
            f"{''.join(_cell(value, finite, decimals=self.decimals) for value in row)}</tr>"
            for number, (name, row) in enumerate(zip(self.names, self.rows, strict=True), start=1)
        )
        scale = ""
        if finite and max(finite) > min(finite):
            low, high = (cell_text(end(finite), decimals=self.decimals) for end in (min, max))
            scale = f'<p class="scale">{low} <i></i> {high}</p>'
        return (
            f'<figure class="card"><figcaption><h3>{escape(self.title)}</h3></figcaption>'
            f"{scroll_box(self.title)}"
            f'<table class="heat"><thead><tr><td></td>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table></div>{scale}{note_html(self.note)}</figure>"
        )


def cell_text(value: float, *, decimals: int) -> str:
    """Return a number as its cell shows it: with decimals, or from 100 up with four digits."""
    return (f"{value:.{decimals}f}" if abs(value) < 100 else f"{value:.4g}").replace("-", "−")


def cell_colours(value: float, finite: Sequence[float]) -> tuple[str, str]:
    """Return the colours of a cell and of its number, such as ``rgb(236,243,250)`` and ``#000``.

    Args:
        value: a finite number.
        finite: all finite numbers of the matrix; the lowest is pale, the highest dark.
    """
    low, high = min(finite), max(finite)
    depth = (value - low) / (high - low) if high > low else 0.0
    red, green, blue = (round(p + depth * (d - p)) for p, d in zip(_PALE, _DEEP, strict=True))
    # Both inks have the same contrast there, about 4.6 : 1.
    return f"rgb({red},{green},{blue})", "#fff" if depth > 0.735 else "#000"


def _cell(value: float | None, finite: Sequence[float], *, decimals: int) -> str:
    if value is None:
        return '<td class="blank"></td>'
    if not math.isfinite(value):
        return f'<td class="blank">{value}</td>'
    fill, ink = cell_colours(value, finite)
    return f'<td style="background:{fill};color:{ink}">{cell_text(value, decimals=decimals)}</td>'
