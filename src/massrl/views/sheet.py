"""The contact sheet: what each strategy does to some images, with every number that was drawn.

One row per image: the image with its crops marked, then its views, each with its operations
written under it. Crops and strategies have their colours throughout the sheet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from massrl.errors import ConfigError
from massrl.views.crops import Box
from massrl.views.plan import Plan, ViewPlan
from massrl.views.policies import Step

Pixels = NDArray[np.uint8]  # (height, width, 3), RGB
Lines = list[list["Run"]]

_INK = "#1f2328"
_MUTED = "#6b7280"
_RULE = "#d5d9df"
_COLOURS = (  # all of them at least 4.5 : 1 on white, so that they serve as text too
    "#2563a8",
    "#c2410c",
    "#15803d",
    "#7e3fa8",
    "#b4235a",
    "#0e7490",
    "#806500",
    "#4b5563",
    "#9f1f1f",
    "#4338ca",
)


@dataclass(frozen=True)
class SheetRow:
    """One image of a sheet.

    Attributes:
        title: what to call the image.
        image: uint8 ``(H, W, 3)``, RGB; it is not written to.
        plan: what was drawn for it.
        views: uint8 ``(N, S, S, 3)``, RGB: the plan executed.
    """

    title: str
    image: Pixels
    plan: Plan
    views: NDArray[np.uint8]


def draw_sheet(rows: Sequence[SheetRow], *, tile: int = 160, title: str = "") -> Pixels:
    """Draw a sheet.

    Args:
        rows: the images, top to bottom.
        tile: side of a view on the sheet, pixels; type and spaces grow with it.
        title: heading, none when empty.

    Returns:
        uint8 ``(height, width, 3)``, RGB.

    Raises:
        ConfigError: if there is nothing to draw, or a tile would be too small to write under.
    """
    if not rows:
        raise ConfigError("a sheet needs at least one image, but there are 0")
    if tile < 64:
        raise ConfigError(f"side of a tile is {tile} px, but 64 or more is wanted (--tile)")
    for row in rows:
        if len(row.views) != len(row.plan.views):
            planned = len(row.plan.views)
            raise ValueError(f"{row.title}: {len(row.views)} views, but {planned} in its plan")
    sheet = _Sheet(rows, _Style(tile), title)
    strips = [sheet.header(), *(sheet.row(row) for row in rows)]
    return np.concatenate(strips)


def save_sheet(rows: Sequence[SheetRow], path: Path, *, tile: int = 160, title: str = "") -> None:
    """Draw a sheet into a PNG file; the folder is made if need be.

    Raises:
        ConfigError: as ``draw_sheet``, and if the file cannot be written.
    """
    pixels = draw_sheet(rows, tile=tile, title=title)
    _, encoded = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded.tobytes())
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error} (--out)") from None


# ---------------------------------------------------------------- words


def describe_step(step: Step) -> str:
    """One operation as a person would say it, with its number and unit.

    Example:
        >>> describe_step(Step("rotate", (-26.7,)))
        'rotate −26.7°'
        >>> describe_step(Step("brightness", (1.28,)))
        'brightness ×1.28'
    """
    return " ".join(_words(step))


def _words(step: Step) -> tuple[str, ...]:
    """What is done and, for operations that take a number, how much."""
    name, amount = _AMOUNTS[step.operation]
    return (name, amount(step.values)) if amount else (name,)


def _signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text if text.strip("+−0.") else text[1:]


def _factor(values: Sequence[float]) -> str:
    return f"×{values[0]:.2f}"


def _slope(values: Sequence[float]) -> str:
    return f"{_signed(values[0], 2)} px/px"


def _percent(values: Sequence[float]) -> str:
    return f"{_signed(100 * values[0], 1)} %"


def _cutout(values: Sequence[float]) -> str:
    side, x, y = (100 * value for value in values)
    return f"{side:.0f} % at {x:.0f} %, {y:.0f} %"


_AMOUNTS: dict[str, tuple[str, Callable[[Sequence[float]], str] | None]] = {
    "identity": ("identity", None),
    "shear_x": ("shear x", _slope),
    "shear_y": ("shear y", _slope),
    "translate_x": ("shift x", _percent),
    "translate_y": ("shift y", _percent),
    "rotate": ("rotate", lambda values: f"{_signed(values[0], 1)}°"),
    "brightness": ("brightness", _factor),
    "contrast": ("contrast", _factor),
    "saturation": ("saturation", _factor),
    "hue": ("hue", lambda values: f"{_signed(values[0], 3)} turns"),
    "sharpness": ("sharpness", _factor),
    "posterize": ("posterize", lambda values: f"{values[0]:.0f} bits"),
    "solarize": ("solarize", lambda values: f"from {values[0]:.0f} up"),
    "invert": ("invert", None),
    "autocontrast": ("autocontrast", None),
    "equalize": ("equalize", None),
    "grayscale": ("grey", None),
    "gaussian_blur": ("blur", lambda values: f"σ {values[0]:.2f} px"),
    "cutout": ("cutout", _cutout),
}


# ---------------------------------------------------------------- type and space


@lru_cache(maxsize=64)
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    from matplotlib import get_data_path

    return ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / f"{name}.ttf", size)


@dataclass(frozen=True)
class _Style:
    """Sizes in pixels, all of them from the side of a tile."""

    tile: int

    def size(self, share: float) -> int:
        """A length that is ``share`` pixels on a sheet with tiles of 160."""
        return max(1, round(share * self.tile / 160))

    @cached_property
    def plain(self) -> ImageFont.FreeTypeFont:
        return _font("DejaVuSans", max(10, self.size(11)))

    @cached_property
    def bold(self) -> ImageFont.FreeTypeFont:
        return _font("DejaVuSans-Bold", max(10, self.size(11)))

    @cached_property
    def heading(self) -> ImageFont.FreeTypeFont:
        return _font("DejaVuSans-Bold", max(12, self.size(17)))

    @property
    def line(self) -> int:
        return max(14, self.size(16))

    @property
    def badge(self) -> int:
        return max(14, self.size(17))

    @property
    def margin(self) -> int:
        return self.size(28)

    @property
    def gap(self) -> int:
        return self.size(16)

    @property
    def image_width(self) -> int:
        return self.size(160 * 4 / 3)  # a photograph of 4 : 3 is as tall as the views beside it

    def left(self, column: int) -> int:
        """Left edge of a view's column."""
        return self.margin + self.image_width + self.size(24) + column * (self.tile + self.gap)


@dataclass(frozen=True)
class Run:
    """Some text in one font and colour, a part of a line."""

    text: str
    colour: str
    font: ImageFont.FreeTypeFont


def _wrap(runs: Sequence[Run], width: int) -> Lines:
    """Break runs into lines of ``width`` pixels: at spaces, and within a word that is longer."""
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
        count = next(n for n in range(len(word), 0, -1) if n == 1 or font.getlength(word[:n]) <= width)
        yield word[:count]
        word = word[count:]
    yield word


def _write(draw: ImageDraw.ImageDraw, lines: Lines, *, left: int, top: int, step: int) -> None:
    for number, line in enumerate(lines):
        x = float(left)
        for run in line:
            draw.text((x, top + number * step), run.text, fill=run.colour, font=run.font)
            x += run.font.getlength(run.text)


# ---------------------------------------------------------------- the sheet


class _Sheet:
    """Draws the strips of one sheet."""

    def __init__(self, rows: Sequence[SheetRow], style: _Style, title: str) -> None:
        self._style = style
        self._title = title
        self._num_columns = max(len(row.plan.views) for row in rows)
        self._width = style.left(self._num_columns) - style.gap + style.margin
        views = [view for row in rows for view in row.plan.views]
        policies = list(dict.fromkeys(view.policy for view in views))
        self._policy_colours = {
            policy: _COLOURS[number % len(_COLOURS)] for number, policy in enumerate(policies)
        }
        pairs = {(view.crop, view.policy) for view in views}
        crops = sorted({crop for crop, _ in pairs})
        if len(pairs) == len(crops) == len(policies):  # a crop for each policy: one colour for both
            self._crop_colours = {crop: self._policy_colours[policy] for crop, policy in pairs}
        else:
            self._crop_colours = {
                crop: _COLOURS[(len(policies) + number) % len(_COLOURS)]
                for number, crop in enumerate(crops)
            }
        self._column_policies = [self._policy_of(rows, column) for column in range(self._num_columns)]

    @staticmethod
    def _policy_of(rows: Sequence[SheetRow], column: int) -> str | None:
        """The policy of a column, ``None`` where it differs from row to row."""
        found = {row.plan.views[column].policy for row in rows if column < len(row.plan.views)}
        return found.pop() if len(found) == 1 else None

    def _policy_lines(self, policy: str, width: int) -> Lines:
        name, bracket, arguments = policy.partition("(")
        if policy.endswith((".yaml", ".yml")):
            name, bracket = Path(policy).stem, ""
        lines = _wrap([Run(name, self._policy_colours[policy], self._style.bold)], width)
        if bracket:
            lines += _wrap([Run(f"({arguments}", _MUTED, self._style.plain)], width)
        return lines

    def header(self) -> Pixels:
        """The title and the names of the columns."""
        style = self._style
        heading = Run(self._title, _INK, style.heading)
        titles = _wrap([heading], self._width - 2 * style.margin) if self._title else []
        names = [[[Run("image and crops", _MUTED, style.plain)]]]
        for column, policy in enumerate(self._column_policies):
            if policy is None:
                names.append([[Run(f"view {column + 1}", _INK, style.bold)]])
            else:
                names.append(self._policy_lines(policy, style.tile))
        top = style.margin + len(titles) * style.size(30)
        depth = max(map(len, names))
        rule = top + depth * style.line + style.size(6)
        picture = Image.new("RGB", (self._width, rule + style.size(2) + style.size(14)), "white")
        draw = ImageDraw.Draw(picture)
        _write(draw, titles, left=style.margin, top=style.margin, step=style.size(30))
        for column, lines in enumerate(names, start=-1):
            left = style.margin if column < 0 else style.left(column)
            width = style.image_width if column < 0 else style.tile
            policy = None if column < 0 else self._column_policies[column]
            _write(draw, lines, left=left, top=top, step=style.line)
            colour = _RULE if policy is None else self._policy_colours[policy]
            draw.rectangle((left, rule, left + width - 1, rule + style.size(2) - 1), fill=colour)
        return np.asarray(picture)

    def row(self, row: SheetRow) -> Pixels:
        """One image with its views."""
        style = self._style
        texts = [self._image_lines(row)]
        texts += [self._view_lines(column, view) for column, view in enumerate(row.plan.views)]
        top = style.tile + style.size(8)
        height = top + max(map(len, texts)) * style.line + style.size(20)
        picture = Image.new("RGB", (self._width, height), "white")
        draw = ImageDraw.Draw(picture)
        self._draw_image(picture, draw, row)
        for column, (view, pixels) in enumerate(zip(row.plan.views, row.views, strict=True)):
            left = style.left(column)
            tile = Image.fromarray(_scaled(pixels, width=style.tile, height=style.tile))
            picture.paste(tile, (left, 0))
            self._badge(draw, view.crop, left=left, top=0)
        _write(draw, texts[0], left=style.margin, top=top, step=style.line)
        for column, lines in enumerate(texts[1:]):
            _write(draw, lines, left=style.left(column), top=top, step=style.line)
        return np.asarray(picture)

    def _image_lines(self, row: SheetRow) -> Lines:
        style = self._style
        height, width = row.image.shape[:2]
        lines = _wrap([Run(row.title, _INK, style.plain)], style.image_width)
        size = Run(f"{width} × {height} px", _MUTED, style.plain)
        return lines + _wrap([size], style.image_width)

    def _view_lines(self, column: int, view: ViewPlan) -> Lines:
        style = self._style
        lines: Lines = []
        if self._column_policies[column] is None:
            lines += self._policy_lines(view.policy, style.tile)
        done = [("flip",)] if view.flip else []
        for name, *amount in [*done, *map(_words, view.steps)]:
            runs = [Run(name, _MUTED, style.plain)]
            runs += [Run(text, _INK, style.plain) for text in amount]
            lines += _wrap(runs, style.tile)
        if not done and not view.steps:
            lines.append([Run("crop alone", _MUTED, style.plain)])
        return lines

    def _draw_image(self, picture: Image.Image, draw: ImageDraw.ImageDraw, row: SheetRow) -> None:
        """The image, left and top in its cell, with the crops' boxes, the largest undermost."""
        style = self._style
        height, width = row.image.shape[:2]
        scale = min(style.image_width / width, style.tile / height)
        shown = max(1, round(width * scale)), max(1, round(height * scale))
        pixels = _scaled(row.image, width=shown[0], height=shown[1])
        picture.paste(Image.fromarray(pixels), (style.margin, 0))
        boxes = {view.crop: view.box for view in row.plan.views}
        order = sorted(boxes, key=lambda crop: -boxes[crop].height * boxes[crop].width)
        taken: list[tuple[int, int]] = []
        frames = {crop: _shrunk(boxes[crop], scale, shown, style.margin) for crop in order}
        line = style.size(2)
        for crop in order:
            left, top, right, bottom = frames[crop]
            halo = (left, top, right, bottom)
            draw.rectangle(halo, outline="white", width=line + 2)
            inner = (left + 1, top + 1, right - 1, bottom - 1)
            if inner[2] > inner[0] and inner[3] > inner[1]:
                draw.rectangle(inner, outline=self._crop_colours[crop], width=line)
        for crop in order:
            left, top, right, bottom = frames[crop]
            right, bottom = right + 1 - style.badge, bottom + 1 - style.badge
            corners = [(left, top), (right, top), (left, bottom), (right, bottom)]
            free = [c for c in corners if all(max(abs(c[0] - t[0]), abs(c[1] - t[1])) >= style.badge for t in taken)]
            place = (free or corners)[0]
            taken.append(place)
            self._badge(draw, crop, left=place[0], top=place[1])

    def _badge(self, draw: ImageDraw.ImageDraw, crop: int, *, left: int, top: int) -> None:
        """A small square of the crop's colour with its number."""
        side, font = self._style.badge, self._style.bold
        corner = (left + side - 1, top + side - 1)
        draw.rectangle((left, top, *corner), fill=self._crop_colours[crop])
        centre = (left + side / 2, top + side / 2)
        draw.text(centre, str(crop + 1), fill="white", font=font, anchor="mm")


def _shrunk(box: Box, scale: float, shown: tuple[int, int], margin: int) -> tuple[int, int, int, int]:
    """A box in the shown image: left, top, right and bottom pixel on the sheet."""
    left, top = round(box.left * scale), round(box.top * scale)
    right = min(shown[0], max(left + 1, round((box.left + box.width) * scale))) - 1
    bottom = min(shown[1], max(top + 1, round((box.top + box.height) * scale))) - 1
    return margin + min(left, right), min(top, bottom), margin + right, bottom


def _scaled(image: Pixels, *, width: int, height: int) -> Pixels:
    """Bring an image to a size; a small one with its pixels left to be seen."""
    if image.shape[:2] == (height, width):
        return image
    growth = min(width / image.shape[1], height / image.shape[0])
    shrinks = width <= image.shape[1] and height <= image.shape[0]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC if growth < 2 else cv2.INTER_NEAREST_EXACT
    return np.asarray(cv2.resize(image, (width, height), interpolation=way), np.uint8)
