"""A chart of a policy: each of its operations over the range of its values, on one image."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from PIL import Image, ImageDraw

from massrl.images.pictures import Pixels
from massrl.randomness import Stream
from massrl.views.cpu import apply_steps
from massrl.views.crops import Box
from massrl.views.drawing.typography import INK, MUTED, Lines, Run, Style, wrap, write
from massrl.views.operations.base import Step, operations
from massrl.views.plan import ViewPlan
from massrl.views.policies.base import MagnitudePolicy, Policy

_NUM_DRAWS = 16_000


@dataclass(frozen=True)
class OperationRange:
    """How often, and with which values, a policy draws one operation.

    Attributes:
        operation: name of the operation.
        share: fraction of the views in which it is applied at least once.
        values: values to show, from the least drawn to the greatest; empty if it takes none.
    """

    operation: str
    share: float
    values: tuple[float, ...]

    @property
    def steps(self) -> list[Step]:
        """One step for each value; further numbers, such as a place, are in the middle."""
        extra = (0.5,) * operations[self.operation].num_extra
        return [Step(self.operation, (value, *extra)) for value in self.values] or [
            Step(self.operation)
        ]


def operation_ranges(policy: Policy, *, side: int, columns: int = 7) -> list[OperationRange]:
    """Return the operations that a policy draws, the most frequent first, with values to show.

    They are counted over many draws, so this works for any policy. A ``MagnitudePolicy`` draws one
    magnitude only; its values are those of all magnitudes.

    Args:
        policy: the policy.
        side: side of a view, pixels.
        columns: largest number of values of each operation.
    """
    views: Counter[str] = Counter()
    drawn: defaultdict[str, set[float]] = defaultdict(set)
    for steps in _draws(policy, side, _NUM_DRAWS):
        views.update({step.operation for step in steps})
        for step in steps:
            drawn[step.operation].update(step.values[:1])
    if isinstance(policy, MagnitudePolicy):
        others = policy.at_every_magnitude()
        for other in others:
            for step in chain.from_iterable(_draws(other, side, _NUM_DRAWS // len(others))):
                drawn[step.operation].update(step.values[:1])
    return [
        OperationRange(name, views[name] / _NUM_DRAWS, _evenly(name, drawn[name], columns))
        for name in sorted(views, key=lambda name: (-views[name], name))
    ]


def _draws(policy: Policy, side: int, count: int) -> Iterator[tuple[Step, ...]]:
    for index in range(count):
        yield policy.draw(Stream(0, epoch=0, index=index, number=0), side)


def _evenly(name: str, drawn: set[float], columns: int) -> tuple[float, ...]:
    """Return evenly spaced values from the least to the greatest."""
    values = sorted(drawn)
    if len(values) <= columns:
        return tuple(values)
    even = [float(value) for value in np.linspace(values[0], values[-1], columns)]
    if operations[name].integer:
        return tuple(sorted({float(round(value)) for value in even}))
    return tuple(even)


def draw_policy_chart(
    image: Pixels, found: Sequence[OperationRange], *, title: str, fill: int = 0, tile: int = 128
) -> Pixels:
    """Draw a chart with a row for each operation, its values from left to right.

    Operations that take no value, or always the same one, stand side by side in the last rows.

    Args:
        image: uint8 ``(S, S, 3)``, RGB, at the size of a view; it is not written to.
        found: what ``operation_ranges`` returns.
        title: heading.
        fill: grey level that geometric operations bring in from outside.
        tile: side of a view on the chart, pixels.

    Returns:
        uint8 ``(height, width, 3)``, RGB.
    """
    ladders = [item for item in found if len(item.values) > 1]
    singles = [item for item in found if len(item.values) <= 1]
    columns = max([4, *(len(item.values) for item in ladders)])
    num_rows = len(ladders) + -(-len(singles) // columns)
    chart = _Chart(image, Style(tile), title=title, fill=fill, columns=columns, num_rows=num_rows)
    for row, item in enumerate(ladders):
        chart.write_name(row, item)
        for column, step in enumerate(item.steps):
            amount = " ".join(step.words()[1:])
            chart.paste(row, column, step, [[chart.muted(amount)]])
    for number, item in enumerate(singles):
        (step,) = item.steps
        row, column = len(ladders) + number // columns, number % columns
        words = wrap([Run(str(step), INK, chart.style.bold)], tile)[:1]
        chart.paste(row, column, step, [*words, [chart.muted(_frequency(item))]])
    return np.asarray(chart.picture)


class _Chart:
    """A picture with a column of names and a grid of views.

    Args:
        image: uint8 ``(S, S, 3)``, RGB.
        style: sizes and fonts.
        title: heading.
        fill: grey level that geometric operations bring in from outside.
        columns: views side by side.
        num_rows: rows of views.
    """

    def __init__(
        self, image: Pixels, style: Style, *, title: str, fill: int, columns: int, num_rows: int
    ) -> None:
        self.style = style
        self._image = image
        self._fill = fill
        self._left = style.margin + style.size(150)
        width = self._left + columns * (style.tile + style.gap) - style.gap + style.margin
        heading = wrap([Run(title, INK, style.heading)], width - 2 * style.margin)
        self._top = style.margin + len(heading) * style.heading_line + style.size(8)
        self._depth = style.tile + 2 * style.line + style.size(12)
        height = self._top + num_rows * self._depth + style.margin // 2
        self.picture = Image.new("RGB", (width, height), "white")
        self._draw = ImageDraw.Draw(self.picture)
        write(self._draw, heading, left=style.margin, top=style.margin, step=style.heading_line)

    def muted(self, text: str) -> Run:
        """Return text in grey."""
        return Run(text, MUTED, self.style.plain)

    def write_name(self, row: int, item: OperationRange) -> None:
        """Write an operation's name and how often it is drawn beside its row."""
        style, top = self.style, self._top + row * self._depth
        lines = [[Run(item.steps[0].words()[0], INK, style.bold)], [self.muted(_frequency(item))]]
        write(self._draw, lines, left=style.margin, top=top, step=style.line)

    def paste(self, row: int, column: int, step: Step, label: Lines) -> None:
        """Apply one step to the image, and paste the result with a label under it."""
        style, tile = self.style, self.style.tile
        left, top = self._left + column * (tile + style.gap), self._top + row * self._depth
        view = ViewPlan("", 0, Box(0, 0, *self._image.shape[:2]), False, (step,))
        pixels = Image.fromarray(apply_steps(self._image, view, fill=self._fill))
        self.picture.paste(pixels.resize((tile, tile), Image.Resampling.BICUBIC), (left, top))
        write(self._draw, label, left=left, top=top + tile + style.size(4), step=style.line)


def _frequency(item: OperationRange) -> str:
    percent = 100 * item.share
    return f"in {percent:.{1 if item.share < 0.1 else 0}f} % of views"
