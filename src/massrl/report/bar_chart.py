"""Bar charts in HTML and CSS: groups of bars, one for each backbone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from massrl.report.content import Block, PageContext, finite_values, note_html


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
            [*finite_values(v for _, values in self.series for v in values), self.chance or 0.0]
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
            f'<table class="bars">{"".join(bodies)}</table>{chance}{note_html(self.note)}</figure>'
        )


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
