"""The loss matrix as a picture, for loggers and documents."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from massrl.report.heat_map import Matrix

_CELL = 0.62  # inches
_MAX_NUMBERS = 12  # views; with more, the numbers are too small to read


def draw_matrix(matrix: Matrix) -> NDArray[np.uint8]:
    """Draw a cell for every pair of views, dark where the loss is high.

    Returns:
        uint8 ``(height, width, 3)``, RGB.
    """
    from matplotlib.figure import Figure  # slow to import

    values = np.array([[np.nan if x is None else x for x in row] for row in matrix.rows], float)
    count = len(values)
    side = max(3.0, _CELL * count)
    figure = Figure(figsize=(side + 3.0, side + 2.2), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor("#f1f2f4")  # pairs that are not in use
    axes.imshow(values, cmap="Blues")
    axes.set_xticks(range(count), matrix.names, rotation=40, ha="right")
    axes.set_yticks(range(count), matrix.names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(matrix.title, loc="left", fontsize=11)
    finite = values[np.isfinite(values)]
    if len(finite) and count <= _MAX_NUMBERS:
        middle = (finite.min() + finite.max()) / 2
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                ink = "white" if value > middle else "#1f2328"
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink, size=8)
    drawn = BytesIO()
    figure.savefig(drawn, format="png")
    with Image.open(drawn) as picture:
        return np.asarray(picture.convert("RGB"))
