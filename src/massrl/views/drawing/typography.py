"""Fonts and sizes of contact sheets and charts, and text that is broken into lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageDraw, ImageFont

INK = "#1f2328"
MUTED = "#6b7280"


@lru_cache(maxsize=64)
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """Load a font that comes with matplotlib, so that a sheet looks the same everywhere."""
    found = find_spec("matplotlib")  # importing it would take longer than drawing the sheet
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(folder / f"{name}.ttf", size)


@dataclass(frozen=True)
class Run:
    """A part of a line: text in one font and colour."""

    text: str
    colour: str
    font: ImageFont.FreeTypeFont


Lines = list[list[Run]]


@dataclass(frozen=True)
class Style:
    """Fonts, and sizes in pixels, for tiles of a given side."""

    tile: int

    def size(self, share: float) -> int:
        """Return a length that is ``share`` pixels on a sheet with tiles of 160."""
        return max(1, round(share * self.tile / 160))

    @cached_property
    def plain(self) -> ImageFont.FreeTypeFont:
        """Font of the text under the pictures."""
        return _font("DejaVuSans", max(10, self.size(11)))

    @cached_property
    def bold(self) -> ImageFont.FreeTypeFont:
        """Font of names and badges."""
        return _font("DejaVuSans-Bold", max(10, self.size(11)))

    @cached_property
    def heading(self) -> ImageFont.FreeTypeFont:
        """Font of the title."""
        return _font("DejaVuSans-Bold", max(12, self.size(17)))

    @property
    def line(self) -> int:
        """Distance from one line of text to the next."""
        return max(14, self.size(16))

    @property
    def heading_line(self) -> int:
        """Distance from one line of the title to the next."""
        return max(18, self.size(30))

    @property
    def badge(self) -> int:
        """Side of a crop's badge."""
        return max(14, self.size(17))

    @property
    def margin(self) -> int:
        """White space around the sheet."""
        return self.size(28)

    @property
    def gap(self) -> int:
        """White space between two views."""
        return self.size(16)

    @property
    def image_width(self) -> int:
        """Width of the cell of an image, which is as tall as a tile."""
        return self.size(160 * 4 / 3)  # a photograph of 4 : 3 is as tall as the views beside it

    def left(self, column: int) -> int:
        """Return the left edge of a view's column."""
        return self.margin + self.image_width + self.size(24) + column * (self.tile + self.gap)


def wrap(runs: Sequence[Run], width: int) -> Lines:
    """Break runs into lines of at most ``width`` pixels: at spaces, and within a word that is longer."""
    lines: Lines = [[]]
    room = float(width)
    for run in runs:
        for word in run.text.split():
            space = " " if lines[-1] else ""
            if lines[-1] and run.font.getlength(space + word) > room:
                lines.append([])
                space, room = "", float(width)
            for part in _pieces(space + word, run.font, width):
                length = run.font.getlength(part)
                if lines[-1] and length > room:
                    lines.append([])
                    room = float(width)
                lines[-1].append(Run(part, run.colour, run.font))
                room -= length
    return lines


def _pieces(word: str, font: ImageFont.FreeTypeFont, width: int) -> Iterator[str]:
    while font.getlength(word) > width:
        count = next(
            n for n in range(len(word), 0, -1) if n == 1 or font.getlength(word[:n]) <= width
        )
        yield word[:count]
        word = word[count:]
    yield word


def write(draw: ImageDraw.ImageDraw, lines: Lines, *, left: int, top: int, step: int) -> None:
    """Write lines below one another, ``step`` pixels apart."""
    for number, line in enumerate(lines):
        x = float(left)
        for run in line:
            draw.text((x, top + number * step), run.text, fill=run.colour, font=run.font)
            x += run.font.getlength(run.text)
