"""What a report shows: words, numbers and pictures, nothing of how they look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image with a caption.

    Attributes:
        image: uint8 ``(H, W, 3)``, RGB, or the path of a PNG or JPEG file.
        caption: what stands under it; may be empty.
        alt: what it shows, for those who cannot see it; the caption where empty.
    """

    image: NDArray[np.uint8] | Path
    caption: str = ""
    alt: str = ""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Something that changes over a run.

    Attributes:
        title: name of the chart.
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


@dataclass(frozen=True, kw_only=True)
class Bars:
    """Percentages side by side.

    Attributes:
        title: name of the chart.
        groups: names of the groups, e.g. ``("k-NN", "linear")``.
        series: name and one percentage per group, e.g. ``("MASSRL", (71.2, 74.0))``; ``None`` where
            there is none.
        chance: percentage of guessing, drawn as a line; ``None`` for no line.
        note: one sentence under the chart.
    """

    title: str
    groups: Sequence[str]
    series: Sequence[tuple[str, Sequence[float | None]]]
    chance: float | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A number for every ordered pair.

    Attributes:
        title: name of the chart.
        names: names of the rows, which are those of the columns too.
        rows: the numbers, ``None`` where there is none.
        note: one sentence under it.
        decimals: of the numbers as they are shown.
    """

    title: str = "Loss of every ordered pair of views"
    names: Sequence[str]
    rows: Sequence[Sequence[float | None]]
    note: str = ""
    decimals: int = 3


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of words and numbers, shown as they are given.

    Attributes:
        title: name of the table.
        header: names of the columns.
        rows: the cells; the first of a row names it, a column of numbers stands to the right.
        note: one sentence under it.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Images with the images that are nearest to them.

    Attributes:
        title: name of the gallery.
        rows: a query and its nearest images, each with whether it is right; ``None``: not known.
        note: one sentence under the title.
    """

    title: str
    rows: Sequence[tuple[Picture, Sequence[tuple[Picture, bool | None]]]]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """Images as points of a map.

    Attributes:
        title: name of the map.
        points: across and up, in [0, 1].
        groups: class of each point, from 0.
        names: of the classes.
        texts: name of each point's image.
        sheet: JPEG file of the images' thumbnails, row by row in the order of the points.
        thumb: side of a thumbnail, pixels.
        per_row: thumbnails in a row of the sheet.
    """

    title: str
    points: Sequence[tuple[float, ...]]
    groups: Sequence[int]
    names: Sequence[str]
    texts: Sequence[str]
    sheet: Path
    thumb: int
    per_row: int


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """All that a report shows; parts that are empty are left out.

    Attributes:
        title: name of the run.
        lead: one sentence that says what came out.
        facts: label and value of the few numbers that matter most.
        config_text: the configuration, as in ``config.yaml``.
        curves: what changed over the run.
        matrix: the losses of the pairs of views.
        confusion: which classes are taken for which.
        tables: further results.
        bars: results side by side.
        images: pictures, such as the contact sheet.
        maps: images as points.
        galleries: nearest neighbours.
    """

    title: str
    lead: str = ""
    facts: Sequence[tuple[str, str]] = ()
    config_text: str = ""
    curves: Sequence[Curve] = ()
    matrix: Matrix | None = None
    confusion: Matrix | None = None
    tables: Sequence[Table] = ()
    bars: Sequence[Bars] = ()
    images: Sequence[Picture] = ()
    maps: Sequence[Scatter] = ()
    galleries: Sequence[Gallery] = ()


Tasks = dict[str, dict[str, Any]]  # figures by task, by the name of the weights
