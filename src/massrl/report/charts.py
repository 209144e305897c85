"""Line charts as SVG.

The plot stretches to whatever width there is, and its labels are text of the page beside it, so
that they stay as large on a telephone as on a desk.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from massrl.report.content import Curve

Values = NDArray[np.float64]

_WIDTH, _HEIGHT = 1000.0, 400.0  # of the plot, in its own units
_MOST_POINTS = 600  # of a line: more would not be seen and make the file large
_SMOOTHED_FROM = 40  # points; shorter series show every point as a dot
NUM_COLOURS = 8

Colours = Mapping[str, int]  # name of a series -> its colour, the same in all charts of a page


def line_chart(curve: Curve, colours: Colours) -> str:
    """One curve as an HTML figure."""
    lines = [(name, *_pairs(xs, ys)) for name, xs, ys in curve.series]
    shown = [(xs, ys) for _, xs, ys in lines if np.isfinite(ys).any()]
    title = f"<figcaption><h3>{escape(curve.title)}</h3><p>{escape(curve.y_label)}</p></figcaption>"
    if not shown:
        return f'<figure class="card">{title}<p class="empty">No values.</p></figure>'
    x_low, x_high = _x_range([xs[np.isfinite(ys)] for xs, ys in shown])
    y_low, y_high = _y_range([ys for _, ys in shown], smooth=curve.smooth)

    def place(xs: Values, ys: Values) -> tuple[Values, Values]:
        across = (xs - x_low) / (x_high - x_low) * _WIDTH
        return across, (y_high - ys) / (y_high - y_low) * _HEIGHT

    x_ticks, y_ticks = nice_ticks(x_low, x_high, 5), nice_ticks(y_low, y_high, 5)
    grid = "".join(
        f'<path class="gridline" d="M0 {_number(y)}H{_WIDTH:g}"/>'
        for y in place(np.zeros(len(y_ticks)), np.array(y_ticks))[1]
    )
    paths = "".join(
        _line_paths(colours.get(name, 0), *place(xs, ys), smooth=curve.smooth)
        for name, xs, ys in lines
    )
    labels = "".join(
        f'<span style="top:{100 * (y_high - tick) / (y_high - y_low):.2f}%">{text}</span>'
        for tick, text in zip(y_ticks, tick_texts(y_ticks), strict=True)
    )
    below = "".join(
        f'<span style="left:{100 * (tick - x_low) / (x_high - x_low):.2f}%">{text}</span>'
        for tick, text in zip(x_ticks, tick_texts(x_ticks), strict=True)
    )
    says = escape(_in_words(curve, lines), quote=True)
    return (
        f'<figure class="card">{title}{_legend(lines, colours)}'
        f'<div class="chart"><div class="y" aria-hidden="true">{labels}</div>'
        f'<svg role="img" aria-label="{says}" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" '
        f'preserveAspectRatio="none">{grid}{paths}</svg>'
        f'<div class="x" aria-hidden="true">{below}</div></div>'
        f'<p class="axis">{escape(curve.x_label)}</p></figure>'
    )


def smoothed(values: Values) -> Values:
    """A running mean over about a thirtieth of the series, taken twice.

    It looks both ways, so that it does not lag behind a steep start. Values that are not finite
    neither count nor are filled in.
    """
    half = max(1, len(values) // 60)
    position = np.arange(len(values))
    first = position - np.minimum(half, position)
    last = np.minimum(position + np.minimum(half, position), len(values) - 1) + 1
    known = np.isfinite(values)
    counts = np.concatenate([[0], np.cumsum(known)])
    result = values
    for _ in range(2):
        sums = np.concatenate([[0.0], np.cumsum(np.where(known, result, 0.0))])
        means = (sums[last] - sums[first]) / np.maximum(counts[last] - counts[first], 1)
        result = np.where(known, means, np.nan)
    return result


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """About ``count`` round numbers from ``low`` to ``high``: multiples of 1, 2 or 5 · 10ⁿ."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [
        round(number * step, 12) if step > 1e-9 else number * step
        for number in range(first, last + 1)
    ]


def tick_texts(ticks: Sequence[float]) -> list[str]:
    """Ticks as text, all with as many decimals as tell them apart."""
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
    known = np.isfinite(across)
    return across[known], np.where(np.isfinite(up[known]), up[known], np.nan)


def _x_range(series: Sequence[Values]) -> tuple[float, float]:
    low, high = (float(pick(np.concatenate(series))) for pick in (np.min, np.max))
    return (low, high) if high > low else (low - 1, high + 1)


def _y_range(series: Sequence[Values], *, smooth: bool) -> tuple[float, float]:
    """Where the lines lie; single outliers of a long raw series may leave the plot."""
    ends: list[float] = []
    for ys in series:
        known = ys[np.isfinite(ys)]
        if smooth and len(ys) > _SMOOTHED_FROM:
            ends += [*np.nanquantile(known, (0.005, 0.995)), *_ends(smoothed(ys))]
        else:
            ends += _ends(known)
    low, high = min(ends), max(ends)
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return low - room if low < 0 or low >= room else min(low, 0.0), high + room


def _ends(values: Values) -> tuple[float, float]:
    return float(np.nanmin(values)), float(np.nanmax(values))


def _line_paths(number: int, xs: Values, ys: Values, *, smooth: bool) -> str:
    """A series: raw and smoothed line where it is long, line and dots where it is short."""
    if smooth and len(ys) > _SMOOTHED_FROM:
        raw = f'<path class="raw s{number}" d="{_path(*_thinned(xs, ys))}"/>'
        return f'{raw}<path class="line s{number}" d="{_path(*_thinned(xs, smoothed(ys)))}"/>'
    drawn = f'<path class="line s{number}" d="{_path(*_thinned(xs, ys))}"/>'
    if len(ys) <= _SMOOTHED_FROM:
        known = np.isfinite(ys)
        dots = "".join(_dot(x, y) for x, y in zip(xs[known], ys[known], strict=True))
        drawn += f'<path class="dot s{number}" d="{dots}"/>'
    return drawn


def _dot(x: float, y: float) -> str:
    place = f"{_number(x)} {_number(y)}"
    return f"M{place}L{place}"  # a line of no length has round ends, and so is a dot at any scale


def _thinned(xs: Values, ys: Values) -> tuple[Values, Values]:
    """The lowest and the highest point of every stretch, which look the same as all of them."""
    if len(xs) <= _MOST_POINTS:
        return xs, ys
    kept = {0, len(xs) - 1}
    for stretch in np.array_split(np.arange(len(xs)), _MOST_POINTS // 2):
        known = stretch[np.isfinite(ys[stretch])]
        if len(known) < len(stretch):
            kept.add(int(stretch[~np.isfinite(ys[stretch])][0]))  # a break stays a break
        if len(known):
            kept |= {int(known[np.argmin(ys[known])]), int(known[np.argmax(ys[known])])}
    order = sorted(kept)
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


def _legend(lines: Sequence[tuple[str, Values, Values]], colours: Colours) -> str:
    """Name and last value of every series."""
    items = []
    for name, _, ys in lines:
        known = ys[np.isfinite(ys)]
        last = f"{known[-1]:.4g}".replace("-", "−") if len(known) else "no values"
        key = f'<i class="s{colours.get(name, 0)}"></i>'
        items.append(f'<li>{key}{escape(name)} <b title="last value">{last}</b></li>')
    return f'<ul class="legend">{"".join(items)}</ul>'


def _in_words(curve: Curve, lines: Sequence[tuple[str, Values, Values]]) -> str:
    parts = []
    for name, _, ys in lines:
        known = ys[np.isfinite(ys)]
        if len(known):
            parts.append(f"{name} from {known[0]:.4g} to {known[-1]:.4g}")
    return f"{curve.title}, {curve.y_label} over {curve.x_label}: {'; '.join(parts)}"
