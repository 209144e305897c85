"""The contact sheet: what each strategy does to some images, with every number that was drawn.

One row per image: the image with its crops marked, then its views, each with its operations
written under it. Crops and strategies have their colours throughout the sheet.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

from massrl.data.source import Source
from massrl.errors import ConfigError, ImageError
from massrl.images.pictures import Pixels, save_picture
from massrl.views.crops import Box
from massrl.views.drawing.typography import INK, MUTED, Lines, Run, Style, wrap, write
from massrl.views.plan import Plan, ViewPlan
from massrl.views.view_maker import ViewMaker

logger = logging.getLogger("massrl")

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
        views: N times uint8 ``(S, S, 3)``, RGB: the plan executed.
    """

    title: str
    image: Pixels
    plan: Plan
    views: Sequence[Pixels]


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
        raise ConfigError(f"side of a tile is {tile} px, but 64 or more is wanted")
    for row in rows:
        if len(row.views) != len(row.plan.views):
            planned = len(row.plan.views)
            raise ValueError(f"{row.title}: {len(row.views)} views, but {planned} in its plan")
    sheet = _Sheet(rows, Style(tile), title)
    strips = [sheet.header(), *(sheet.row(row) for row in rows)]
    return np.concatenate(strips)


def save_sheet(rows: Sequence[SheetRow], path: Path, *, tile: int = 160, title: str = "") -> None:
    """Draw a sheet into a PNG file; the folder is made if need be.

    Raises:
        ConfigError: as ``draw_sheet``, and if the file cannot be written.
    """
    save_picture(draw_sheet(rows, tile=tile, title=title), path)


def sheet_colours(rows: Sequence[SheetRow]) -> tuple[dict[str, str], dict[int, str]]:
    """The colour of each policy and of each crop, the same throughout a sheet."""
    views = [view for row in rows for view in row.plan.views]
    policies = list(dict.fromkeys(view.policy for view in views))
    by_policy = {policy: _COLOURS[number % len(_COLOURS)] for number, policy in enumerate(policies)}
    pairs = {(view.crop, view.policy) for view in views}
    crops = sorted({crop for crop, _ in pairs})
    if len(pairs) == len(crops) == len(policies):  # a crop for each policy: one colour for both
        return by_policy, {crop: by_policy[policy] for crop, policy in pairs}
    return by_policy, {
        crop: _COLOURS[(len(policies) + number) % len(_COLOURS)]
        for number, crop in enumerate(crops)
    }


class _Sheet:
    """Draws the strips of one sheet."""

    def __init__(self, rows: Sequence[SheetRow], style: Style, title: str) -> None:
        self._style = style
        self._title = title
        self._num_columns = max(len(row.plan.views) for row in rows)
        self._width = style.left(self._num_columns) - style.gap + style.margin
        self._policy_colours, self._crop_colours = sheet_colours(rows)
        self._column_policies = [
            self._policy_of(rows, column) for column in range(self._num_columns)
        ]

    @staticmethod
    def _policy_of(rows: Sequence[SheetRow], column: int) -> str | None:
        """The policy of a column, ``None`` where it differs from row to row."""
        found = {row.plan.views[column].policy for row in rows if column < len(row.plan.views)}
        return found.pop() if len(found) == 1 else None

    def _policy_lines(self, policy: str, width: int) -> Lines:
        name, bracket, arguments = policy.partition("(")
        if policy.endswith((".yaml", ".yml")):
            name, bracket = Path(policy).stem, ""
        runs = [Run(name, self._policy_colours[policy], self._style.bold)]
        runs += [Run(f"({arguments}", MUTED, self._style.plain)] if bracket else []
        return [line for run in runs for line in wrap([run], width)]

    def header(self) -> Pixels:
        """The title and the names of the columns."""
        style = self._style
        heading = Run(self._title, INK, style.heading)
        titles = wrap([heading], self._width - 2 * style.margin) if self._title else []
        names = [[[Run("image and crops", MUTED, style.plain)]]]
        for column, policy in enumerate(self._column_policies):
            if policy is None:
                names.append([[Run(f"view {column + 1}", INK, style.bold)]])
            else:
                names.append(self._policy_lines(policy, style.tile))
        top = style.margin + len(titles) * style.heading_line
        depth = max(map(len, names))
        rule = top + depth * style.line + style.size(6)
        picture = Image.new("RGB", (self._width, rule + style.size(2) + style.size(14)), "white")
        draw = ImageDraw.Draw(picture)
        write(draw, titles, left=style.margin, top=style.margin, step=style.heading_line)
        for column, lines in enumerate(names, start=-1):
            left = style.margin if column < 0 else style.left(column)
            width = style.image_width if column < 0 else style.tile
            policy = None if column < 0 else self._column_policies[column]
            write(draw, lines, left=left, top=top, step=style.line)
            colour = _RULE if policy is None else self._policy_colours[policy]
            draw.rectangle((left, rule, left + width - 1, rule + style.size(2) - 1), fill=colour)
        return np.asarray(picture)

    def row(self, row: SheetRow) -> Pixels:
        """One image with its views."""
        style = self._style
        shown = self._shown_size(row)
        below = style.size(8)
        texts = [(style.margin, shown[1] + below, self._image_lines(row))]
        for column, view in enumerate(row.plan.views):
            lines = self._view_lines(column, view)
            texts.append((style.left(column), style.tile + below, lines))
        height = max([style.tile, *(top + len(lines) * style.line for _, top, lines in texts)])
        picture = Image.new("RGB", (self._width, height + style.size(20)), "white")
        draw = ImageDraw.Draw(picture)
        shrunk = _scaled(row.image, width=shown[0], height=shown[1])
        picture.paste(Image.fromarray(shrunk), (style.margin, 0))
        self._draw_boxes(draw, row, shown)
        for column, (view, pixels) in enumerate(zip(row.plan.views, row.views, strict=True)):
            left = style.left(column)
            tile = Image.fromarray(_scaled(pixels, width=style.tile, height=style.tile))
            picture.paste(tile, (left, 0))
            self._badge(draw, view.crop, left=left, top=0)
        for left, top, lines in texts:
            write(draw, lines, left=left, top=top, step=style.line)
        return np.asarray(picture)

    def _shown_size(self, row: SheetRow) -> tuple[int, int]:
        """Width and height of the image in its cell."""
        height, width = row.image.shape[:2]
        scale = min(self._style.image_width / width, self._style.tile / height)
        return max(1, round(width * scale)), max(1, round(height * scale))

    def _image_lines(self, row: SheetRow) -> Lines:
        style = self._style
        height, width = row.image.shape[:2]
        lines = wrap([Run(row.title, INK, style.plain)], style.image_width)
        size = Run(f"{width} × {height} px", MUTED, style.plain)
        return lines + wrap([size], style.image_width)

    def _view_lines(self, column: int, view: ViewPlan) -> Lines:
        style = self._style
        lines: Lines = []
        if self._column_policies[column] is None:
            lines += self._policy_lines(view.policy, style.tile)
        done = [("flip",)] if view.flip else []
        for name, *amount in [*done, *(step.words() for step in view.steps)]:
            runs = [Run(name, MUTED, style.plain)]
            runs += [Run(text, INK, style.plain) for text in amount]
            lines += wrap(runs, style.tile)
        if not done and not view.steps:
            lines.append([Run("crop alone", MUTED, style.plain)])
        return lines

    def _draw_boxes(self, draw: ImageDraw.ImageDraw, row: SheetRow, shown: tuple[int, int]) -> None:
        """The boxes of the crops, the largest undermost, and their badges."""
        boxes = {view.crop: view.box for view in row.plan.views}
        order = sorted(boxes, key=lambda crop: -boxes[crop].height * boxes[crop].width)
        margin, line = self._style.margin, self._style.size(2)
        frames = {crop: _shrunk(boxes[crop], row.plan, shown, margin) for crop in order}
        for crop in order:
            left, top, right, bottom = frames[crop]
            draw.rectangle(frames[crop], outline="white", width=line + 2)
            if right - left > 2 and bottom - top > 2:
                inner = (left + 1, top + 1, right - 1, bottom - 1)
                draw.rectangle(inner, outline=self._crop_colours[crop], width=line)
        taken: list[tuple[int, int]] = []
        for crop in order:
            taken.append(self._badge_place(frames[crop], taken))
            self._badge(draw, crop, left=taken[-1][0], top=taken[-1][1])

    def _badge_place(
        self, frame: tuple[int, int, int, int], taken: list[tuple[int, int]]
    ) -> tuple[int, int]:
        """A corner of the frame, or a place further along it, that covers no other badge."""
        side = self._style.badge
        left, top, right, bottom = frame[0], frame[1], frame[2] + 1 - side, frame[3] + 1 - side
        corners = [(left, top), (right, top), (left, bottom), (right, bottom)]
        right_end = self._style.margin + self._style.image_width - side
        along = [(x, top) for x in range(left, right_end + 1, side)]
        along += [(left, y) for y in range(top, self._style.tile - side + 1, side)]
        along += [(x, top) for x in range(left, -1, -side)]
        for x, y in [*corners, *along]:
            clear = all(max(abs(x - other[0]), abs(y - other[1])) >= side for other in taken)
            if clear and x >= self._style.margin - side and y >= 0:
                return x, y
        return left, top

    def _badge(self, draw: ImageDraw.ImageDraw, crop: int, *, left: int, top: int) -> None:
        """A small square of the crop's colour with its number."""
        side, font = self._style.badge, self._style.bold
        corner = (left + side - 1, top + side - 1)
        draw.rectangle((left, top, *corner), fill=self._crop_colours[crop])
        centre = (left + side / 2, top + side / 2)
        draw.text(centre, str(crop + 1), fill="white", font=font, anchor="mm")


def _shrunk(box: Box, plan: Plan, shown: tuple[int, int], margin: int) -> tuple[int, int, int, int]:
    """A box in the shown image: its left, top, right and bottom pixel on the row."""
    across, down = shown[0] / plan.width, shown[1] / plan.height
    left = min(shown[0] - 1, round(box.left * across))
    top = min(shown[1] - 1, round(box.top * down))
    right = max(left, round((box.left + box.width) * across) - 1)
    bottom = max(top, round((box.top + box.height) * down) - 1)
    return margin + left, top, margin + right, bottom


def _scaled(image: Pixels, *, width: int, height: int) -> Pixels:
    """Bring an image to a size; a small one with its pixels left to be seen."""
    if image.shape[:2] == (height, width):
        return image
    growth = min(width / image.shape[1], height / image.shape[0])
    shrinks = width <= image.shape[1] and height <= image.shape[0]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC if growth < 2 else cv2.INTER_NEAREST_EXACT
    return np.asarray(cv2.resize(image, (width, height), interpolation=way), np.uint8)


def sheet_rows(
    source: Source,
    maker: ViewMaker,
    *,
    count: int,
    epoch: int = 0,
    indices: Iterable[int] | None = None,
) -> list[SheetRow]:
    """The first images that can be decoded, of all or of these, each with its plan and its views."""
    rows: list[SheetRow] = []
    for index in range(len(source)) if indices is None else indices:
        if len(rows) == count:
            break
        try:
            image = maker.load(source.read(index), index=index)
        except ImageError as error:
            logger.warning("left out of the sheet: %s: %s", source.describe(index), error.reason)
            continue
        plan = maker.plan(epoch=epoch, index=index, height=image.shape[0], width=image.shape[1])
        title = Path(source.describe(index)).name
        views = maker(source.read(index), epoch=epoch, index=index)
        rows.append(SheetRow(title, image, plan, plan.cut(views)))
    return rows
