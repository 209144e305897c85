"""The contact sheet: what each policy does to some images, with every value that was drawn.

One row per image: the image with its crops marked, then its views, each with its operations
written under it. Crops and policies have their colours throughout the sheet.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

from massrl.errors import ConfigError
from massrl.images.pictures import Pixels, save_picture
from massrl.views.crops import Box
from massrl.views.drawing.sheet_rows import SheetRow, sheet_colours
from massrl.views.drawing.typography import INK, MUTED, Lines, Run, Style, wrap, write
from massrl.views.plan import Plan, ViewPlan
from massrl.views.policies.catalogue import short_name

_RULE = "#d5d9df"


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


def save_sheet(
    rows: Sequence[SheetRow], path: Path, *, command: str, tile: int = 160, title: str = ""
) -> None:
    """Draw a sheet into a picture file, which says the command it is of; its folder is created.

    Raises:
        ConfigError: as ``draw_sheet``, and if the file cannot be written.
    """
    save_picture(draw_sheet(rows, tile=tile, title=title), path, command=command)


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
        """Return the policy of a column, ``None`` where it differs from row to row."""
        found = {row.plan.views[column].policy for row in rows if column < len(row.plan.views)}
        return found.pop() if len(found) == 1 else None

    def _policy_lines(self, policy: str, width: int) -> Lines:
        name, bracket, arguments = short_name(policy).partition("(")
        runs = [Run(name, self._policy_colours[policy], self._style.bold)]
        runs += [Run(f"({arguments}", MUTED, self._style.plain)] if bracket else []
        return [line for run in runs for line in wrap([run], width)]

    def header(self) -> Pixels:
        """Draw the title and the names of the columns."""
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
        """Draw one image with its views."""
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
        """Return width and height of the image in its cell, pixels."""
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
        for name, *amount in view.words():
            runs = [Run(name, MUTED, style.plain)]
            runs += [Run(text, INK, style.plain) for text in amount]
            lines += wrap(runs, style.tile)
        return lines

    def _draw_boxes(self, draw: ImageDraw.ImageDraw, row: SheetRow, shown: tuple[int, int]) -> None:
        """Draw the boxes of the crops, the largest undermost, and their badges."""
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
        """Return a corner of the frame, or a place further along it, that covers no other badge."""
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
        """Draw a small square of the crop's colour with its number."""
        side, font = self._style.badge, self._style.bold
        corner = (left + side - 1, top + side - 1)
        draw.rectangle((left, top, *corner), fill=self._crop_colours[crop])
        centre = (left + side / 2, top + side / 2)
        draw.text(centre, str(crop + 1), fill="white", font=font, anchor="mm")


def _shrunk(box: Box, plan: Plan, shown: tuple[int, int], margin: int) -> tuple[int, int, int, int]:
    """Return a box in the shown image: its left, top, right and bottom pixel on the row."""
    across, down = shown[0] / plan.width, shown[1] / plan.height
    left = min(shown[0] - 1, round(box.left * across))
    top = min(shown[1] - 1, round(box.top * down))
    right = max(left, round((box.left + box.width) * across) - 1)
    bottom = max(top, round((box.top + box.height) * down) - 1)
    return margin + left, top, margin + right, bottom


def _scaled(image: Pixels, *, width: int, height: int) -> Pixels:
    """Resize an image; one that grows much keeps its pixels visible."""
    if image.shape[:2] == (height, width):
        return image
    growth = min(width / image.shape[1], height / image.shape[0])
    shrinks = width <= image.shape[1] and height <= image.shape[0]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC if growth < 2 else cv2.INTER_NEAREST_EXACT
    return np.asarray(cv2.resize(image, (width, height), interpolation=way), np.uint8)
