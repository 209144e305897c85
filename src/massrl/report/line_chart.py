"""Line charts as SVG.

The plot stretches to the available width. Its labels are text of the page beside it, so that they have the
same size on a phone and on a desktop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from massrl.report.content import Block, PageContext

Values = NDArray[np.float64]
Line = tuple[str, Values, Values]  # name, xs, ys

_WIDTH, _HEIGHT = 1000.0, 400.0  # of the plot, in its own units
_MAX_POINTS = 600  # of a line: more cannot be seen and make the file large
_SMOOTHED_FROM = 40  # points; shorter series show every point as a dot


@dataclass(frozen=True, kw_only=True)
class Curve(Block):
    """A line chart of what changes over a run.

    Attributes:
        title: of the chart.
        y_label: what is measured, with its unit.
        x_label: what it is measured over.
        series: name, xs and ys of each line; a line breaks where a value is not finite.
        smooth: whether long series get a smoothed line over a faint raw one.
    """

    title: str
    y_label: str
    x_label: str = "optimiser step"
    series: Sequence[tuple[str, Sequence[float], Sequence[float]]]
    smooth: bool = True

    def series_names(self) -> Sequence[str]:
        """Return the lines' names; a single line needs no colour of its own."""
        return [name for name, _, _ in self.series] if len(self.series) > 1 else []

    def html(self, page: PageContext) -> str:
        """Return the chart as a figure with legend and axes."""
        lines = [(name, *_pairs(xs, ys)) for name, xs, ys in self.series]
        title = (
            f"<figcaption><h3>{escape(self.title)}</h3><p>{escape(self.y_label)}</p></figcaption>"
        )
        if not any(np.isfinite(ys).any() for _, _, ys in lines):
            return f'<figure class="card">{title}<p class="empty">No values.</p></figure>'
        axes = _Axes.around(lines, smooth=self.smooth)
        paths = "".join(
            _line_paths(*axes.place(xs, ys), colour=page.colour(name), smooth=self.smooth)
            for name, xs, ys in lines
        )
        label = escape(self._alt_text(lines), quote=True)
        return (
            f'<figure class="card">{title}{_legend(lines, page)}'
            f'<div class="chart"><div class="y" aria-hidden="true">{axes.y_labels()}</div>'
            f'<svg role="img" aria-label="{label}" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" '
            f'preserveAspectRatio="none">{axes.grid()}{paths}</svg>'
            f'<div class="x" aria-hidden="true">{axes.x_labels()}</div></div>'
            f'<p class="axis">{escape(self.x_label)}</p></figure>'
        )

    def _alt_text(self, lines: Sequence[Line]) -> str:
        parts = []
        for name, _, ys in lines:
            finite = ys[np.isfinite(ys)]
            if len(finite):
                parts.append(f"{name} from {finite[0]:.4g} to {finite[-1]:.4g}")
        return f"{self.title}, {self.y_label} over {self.x_label}: {'; '.join(parts)}"


@dataclass(frozen=True)
class _Axes:
    """Ranges of both axes, and how values become places in the plot."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    @classmethod
    def around(cls, lines: Sequence[Line], *, smooth: bool) -> _Axes:
        shown = [(xs, ys) for _, xs, ys in lines if np.isfinite(ys).any()]
        x_range = _x_range([xs[np.isfinite(ys)] for xs, ys in shown])
        return cls(*x_range, *_y_range([ys for _, ys in shown], smooth=smooth))

    def place(self, xs: Values, ys: Values) -> tuple[Values, Values]:
        across = (xs - self.x_low) / (self.x_high - self.x_low) * _WIDTH
        return across, (self.y_high - ys) / (self.y_high - self.y_low) * _HEIGHT

    def grid(self) -> str:
        ticks = np.array(nice_ticks(self.y_low, self.y_high, count=5))
        return "".join(
            f'<path class="gridline" d="M0 {_number(y)}H{_WIDTH:g}"/>'
            for y in self.place(np.zeros(len(ticks)), ticks)[1]
        )

    def y_labels(self) -> str:
        ticks = nice_ticks(self.y_low, self.y_high, count=5)
        return "".join(
            f'<span style="top:{100 * (self.y_high - tick) / (self.y_high - self.y_low):.2f}%">'
            f"{text}</span>"
            for tick, text in zip(ticks, tick_texts(ticks), strict=True)
        )

    def x_labels(self) -> str:
        ticks = nice_ticks(self.x_low, self.x_high, count=5)
        return "".join(
            f'<span style="left:{100 * (tick - self.x_low) / (self.x_high - self.x_low):.2f}%">'
            f"{text}</span>"
            for tick, text in zip(ticks, tick_texts(ticks), strict=True)
        )


def smoothed(values: Values) -> Values:
    """Return a centred running mean over about a thirtieth of the series, applied twice.

    It is centred so that it does not lag behind a steep start. Non-finite values are ignored and stay
    as they are.
    """
    half = max(1, len(values) // 60)
    position = np.arange(len(values))
    first = position - np.minimum(half, position)
    last = np.minimum(position + np.minimum(half, position), len(values) - 1) + 1
    finite = np.isfinite(values)
    counts = np.concatenate([[0], np.cumsum(finite)])
    result = values
    for _ in range(2):
        sums = np.concatenate([[0.0], np.cumsum(np.where(finite, result, 0.0))])
        means = (sums[last] - sums[first]) / np.maximum(counts[last] - counts[first], 1)
        result = np.where(finite, means, np.nan)
    return result


def nice_ticks(low: float, high: float, *, count: int) -> list[float]:
    """Return about ``count`` round numbers from ``low`` to ``high``: multiples of 1, 2 or 5 · 10ⁿ."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [
        round(number * step, 12) if step > 1e-9 else number * step
        for number in range(first, last + 1)
    ]


def tick_texts(ticks: Sequence[float]) -> list[str]:
    """Return ticks as text, with the number of decimals that tells them apart."""
    largest = max((abs(tick) for tick in ticks), default=0.0)
    step = min((b - a for a, b in pairwise(ticks)), default=largest or 1.0)
    if 0 < largest < 1e-3 or largest >= 1e9:
        return [f"{tick:.3g}".replace("-", "−") if tick else "0" for tick in ticks]
    scale, suffix = (1e6, "M") if largest >= 1e6 else (1e3, "k") if largest >= 1e4 else (1.0, "")
    decimals = max(0, -math.floor(math.log10(step / scale) + 1e-9))
    texts = [f"{tick / scale:.{decimals}f}".replace("-", "−") for tick in ticks]
    return [text + suffix if tick else "0" for text, tick in zip(texts, ticks, strict=True)]


def _pairs(xs: Sequence[float], ys: Sequence[float]) -> tuple[Values, Values]:
    across, up = np.asarray(xs, np.float64), np.asarray(ys, np.float64)
    finite = np.isfinite(across)
    return across[finite], np.where(np.isfinite(up[finite]), up[finite], np.nan)


def _x_range(series: Sequence[Values]) -> tuple[float, float]:
    low, high = (float(pick(np.concatenate(series))) for pick in (np.min, np.max))
    return (low, high) if high > low else (low - 1, high + 1)


def _y_range(series: Sequence[Values], *, smooth: bool) -> tuple[float, float]:
    """Return the range of the lines; single outliers of a long raw series may leave the plot."""
    ends: list[float] = []
    for ys in series:
        finite = ys[np.isfinite(ys)]
        if smooth and len(ys) > _SMOOTHED_FROM:
            ends += [*np.nanquantile(finite, (0.005, 0.995)), *_ends(smoothed(ys))]
        else:
            ends += _ends(finite)
    low, high = min(ends), max(ends)
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return low - margin if low < 0 or low >= margin else min(low, 0.0), high + margin


def _ends(values: Values) -> tuple[float, float]:
    return float(np.nanmin(values)), float(np.nanmax(values))


def _line_paths(xs: Values, ys: Values, *, colour: int, smooth: bool) -> str:
    """Return the raw and the smoothed line of a long series, the line and the dots of a short one."""
    if smooth and len(ys) > _SMOOTHED_FROM:
        raw = f'<path class="raw s{colour}" d="{_path(*_thinned(xs, ys))}"/>'
        return f'{raw}<path class="line s{colour}" d="{_path(*_thinned(xs, smoothed(ys)))}"/>'
    drawn = f'<path class="line s{colour}" d="{_path(*_thinned(xs, ys))}"/>'
    if len(ys) <= _SMOOTHED_FROM:
        finite = np.isfinite(ys)
        dots = "".join(_dot(x, y) for x, y in zip(xs[finite], ys[finite], strict=True))
        drawn += f'<path class="dot s{colour}" d="{dots}"/>'
    return drawn


def _dot(x: float, y: float) -> str:
    place = f"{_number(x)} {_number(y)}"
    return f"M{place}L{place}"  # a line of length 0 with round ends is a dot at any scale


def _thinned(xs: Values, ys: Values) -> tuple[Values, Values]:
    """Return the lowest and the highest point of every interval, which look the same as all points."""
    if len(xs) <= _MAX_POINTS:
        return xs, ys
    selected = {0, len(xs) - 1}
    for interval in np.array_split(np.arange(len(xs)), _MAX_POINTS // 2):
        finite = interval[np.isfinite(ys[interval])]
        if len(finite) < len(interval):
            selected.add(int(interval[~np.isfinite(ys[interval])][0]))  # the line still breaks here
        if len(finite):
            selected |= {int(finite[np.argmin(ys[finite])]), int(finite[np.argmax(ys[finite])])}
    order = sorted(selected)
    return xs[order], ys[order]


def _path(xs: Values, ys: Values) -> str:
    parts, pen = [], "M"
    for x, y in zip(xs, ys, strict=True):
        if math.isfinite(y):
            parts.append(f"{pen}{_number(x)} {_number(y)}")
        pen = "L" if math.isfinite(y) else "M"
    return "".join(parts)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _legend(lines: Sequence[Line], page: PageContext) -> str:
    """Return name and last value of every series."""
    items = []
    for name, _, ys in lines:
        finite = ys[np.isfinite(ys)]
        last = f"{finite[-1]:.4g}".replace("-", "−") if len(finite) else "no values"
        key = f'<i class="s{page.colour(name)}"></i>'
        items.append(f'<li>{key}{escape(name)} <b title="last value">{last}</b></li>')
    return f'<ul class="legend">{"".join(items)}</ul>'
