"""What a policy does: each of its operations over the whole range of its numbers, on one image."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from PIL import Image, ImageDraw

from massrl.images.pictures import Pixels
from massrl.randomness import Stream
from massrl.views.cpu import apply_steps
from massrl.views.crops import Box
from massrl.views.drawing.typography import INK, MUTED, Run, Style, wrap, write
from massrl.views.operations import Step, step_words
from massrl.views.plan import ViewPlan
from massrl.views.policies.base import Policy
from massrl.views.policies.randaugment import RandAugment

_NUM_DRAWS = 16_000


@dataclass(frozen=True)
class Range:
    """What a policy was seen to do with one operation.

    Attributes:
        operation: name of the operation.
        share: share of the views in which it is applied at least once.
        values: numbers to show, from the least drawn to the greatest; empty where it takes none.
    """

    operation: str
    share: float
    values: tuple[float, ...]


def ranges(policy: Policy, *, side: int, columns: int = 7) -> list[Range]:
    """The operations that a policy draws, the most frequent first, over the numbers that it draws.

    They are read off many draws, so this holds for any policy, the user's own among them. RandAugment
    has one strength at a time; its numbers are those of all magnitudes, 0 to 30.

    Args:
        policy: the policy.
        side: side of a view, pixels.
        columns: numbers of each operation to show.
    """
    views: Counter[str] = Counter()
    drawn: defaultdict[str, set[float]] = defaultdict(set)
    for steps in _draws(policy, side, _NUM_DRAWS):
        views.update({step.operation for step in steps})
        for step in steps:
            drawn[step.operation].update(step.values[:1])
    if isinstance(policy, RandAugment):
        for magnitude in range(31):
            other = replace(policy, magnitude=magnitude)
            for step in chain.from_iterable(_draws(other, side, _NUM_DRAWS // 31)):
                drawn[step.operation].update(step.values[:1])
    return [
        Range(name, views[name] / _NUM_DRAWS, _evenly(name, drawn[name], columns))
        for name in sorted(views, key=lambda name: (-views[name], name))
    ]


def _draws(policy: Policy, side: int, count: int) -> Iterator[tuple[Step, ...]]:
    for index in range(count):
        yield policy.draw(Stream(0, epoch=0, index=index, number=0), side)


def _evenly(name: str, drawn: set[float], columns: int) -> tuple[float, ...]:
    """Some numbers from the least to the greatest."""
    values = sorted(drawn)
    if len(values) <= columns:
        return tuple(values)
    even = [float(value) for value in np.linspace(values[0], values[-1], columns)]
    return (
        tuple(sorted({float(round(value)) for value in even}))
        if name == "posterize"
        else tuple(even)
    )


def draw_policy_chart(
    image: Pixels, found: Sequence[Range], *, title: str, fill: int = 0, tile: int = 128
) -> Pixels:
    """A chart with a row for each operation, its numbers from left to right.

    Operations that take no number, or always the same one, stand side by side in the last rows.

    Args:
        image: uint8 ``(S, S, 3)``, RGB, at the size of a view; it is not written to.
        found: what ``ranges`` found.
        title: heading.
        fill: grey level that geometric operations bring in from outside.
        tile: side of a view on the chart, pixels.

    Returns:
        uint8 ``(height, width, 3)``, RGB.
    """
    style = Style(tile)
    ladders = [item for item in found if len(item.values) > 1]
    alone = [item for item in found if len(item.values) <= 1]
    columns = max([4, *(len(item.values) for item in ladders)])
    names = style.size(150)
    width = 2 * style.margin + names + columns * (tile + style.gap) - style.gap
    heading = wrap([Run(title, INK, style.heading)], width - 2 * style.margin)
    top = style.margin + len(heading) * style.heading_line + style.size(8)
    depth = tile + 2 * style.line + style.size(12)
    num_rows = len(ladders) + -(-len(alone) // columns)
    picture = Image.new("RGB", (width, top + num_rows * depth + style.margin // 2), "white")
    draw = ImageDraw.Draw(picture)
    write(draw, heading, left=style.margin, top=style.margin, step=style.heading_line)

    def view(row: int, column: int, step: Step, label: list[list[Run]]) -> None:
        left, y = style.margin + names + column * (tile + style.gap), top + row * depth
        plan = ViewPlan("", 0, Box(0, 0, *image.shape[:2]), False, (step,))
        pixels = Image.fromarray(apply_steps(image, plan, fill=fill))
        picture.paste(pixels.resize((tile, tile), Image.Resampling.BICUBIC), (left, y))
        write(draw, label, left=left, top=y + tile + style.size(4), step=style.line)

    for row, item in enumerate(ladders):
        name = [[Run(step_words(_step(item, 0))[0], INK, style.bold)]]
        often = [[Run(f"in {_percent(item.share)} of views", MUTED, style.plain)]]
        write(draw, name + often, left=style.margin, top=top + row * depth, step=style.line)
        for column in range(len(item.values)):
            step = _step(item, column)
            amount = " ".join(step_words(step)[1:])
            view(row, column, step, [[Run(amount, MUTED, style.plain)]])
    for number, item in enumerate(alone):
        step = _step(item, 0)
        words = [Run(" ".join(step_words(step)), INK, style.bold)]
        often = [[Run(f"in {_percent(item.share)} of views", MUTED, style.plain)]]
        row, column = len(ladders) + number // columns, number % columns
        view(row, column, step, wrap(words, tile)[:1] + often)
    return np.asarray(picture)


def _step(item: Range, column: int) -> Step:
    """One operation at one of its numbers; a cutout stands in the middle."""
    values = item.values[column : column + 1]
    return Step(item.operation, (*values, 0.5, 0.5) if item.operation == "cutout" else values)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"
