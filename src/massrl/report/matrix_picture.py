"""The loss matrix as a picture, for loggers and documents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from massrl.report.content import finite_values
from massrl.report.heat_map import Matrix, cell_colours, cell_text
from massrl.views.drawing.typography import INK, Style

_CELL = 72  # pixels
_MAX_NUMBERS = 12  # views; with more, the numbers are too small to read
_BLANK = "#f1f2f4"  # of pairs that are not in use


def draw_matrix(matrix: Matrix) -> NDArray[np.uint8]:
    """Draw a cell for every pair of views, dark where the loss is high; columns have the rows' numbers.

    Returns:
        uint8 ``(height, width, 3)``, RGB.
    """
    style, count = Style(200), len(matrix.names)
    names = [f"{number}  {name}" for number, name in enumerate(matrix.names, start=1)]
    margin = style.margin
    left = margin + round(max(map(style.plain.getlength, names))) + style.gap
    top = margin + style.heading_line + style.line + style.gap
    heading = round(style.heading.getlength(matrix.title))
    width = max(left + count * _CELL, margin + heading) + margin
    picture = Image.new("RGB", (width, top + count * _CELL + margin), "white")
    draw = ImageDraw.Draw(picture)
    draw.text((margin, margin), matrix.title, fill=INK, font=style.heading)
    for place, name in enumerate(names):
        middle = (place + 0.5) * _CELL
        draw.text((margin, top + middle), name, fill=INK, font=style.plain, anchor="lm")
        number = (left + middle, top - style.gap / 2)
        draw.text(number, str(place + 1), fill=INK, font=style.plain, anchor="ms")
    finite = finite_values(value for row in matrix.rows for value in row)
    for row, values in enumerate(matrix.rows):
        for column, value in enumerate(values):
            x, y = left + column * _CELL, top + row * _CELL
            shown = finite_values([value])
            fill, ink = cell_colours(shown[0], finite) if shown else (_BLANK, INK)
            draw.rectangle((x, y, x + _CELL - 3, y + _CELL - 3), fill=fill)
            if shown and count <= _MAX_NUMBERS:
                centre = (x + _CELL / 2 - 1.5, y + _CELL / 2 - 1.5)
                text = cell_text(shown[0], decimals=2)
                draw.text(centre, text, fill=ink, font=style.plain, anchor="mm")
    return np.asarray(picture)
