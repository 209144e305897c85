"""The feature report of ``--task features`` as blocks of a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from massrl.errors import DataError
from massrl.evaluation.tasks.feature_maps import THUMBNAIL, THUMBNAILS_PER_ROW, TILE
from massrl.files import inside, read_json
from massrl.report.pictures import Gallery, Picture, picture_file
from massrl.report.scatter import Scatter

_FILES = ("features.json", "look.json")  # the second one is of version 0.1.0


def load_feature_report(folder: Path, title: str) -> tuple[list[Scatter], list[Gallery]]:
    """Return the maps and the nearest neighbours in a folder; nothing where there is no report.

    Args:
        folder: that ``--task features`` wrote.
        title: name of the backbone, which is added to the titles.
    """
    file = next((folder / name for name in _FILES if (folder / name).is_file()), None)
    if file is None:
        return [], []
    names = (file.name, "map.jpg", "neighbours.jpg")
    if any(inside(folder, name) is None for name in names):
        raise DataError(f"{folder.name} names files outside of it")
    kinds = {"classes": list, "labels": list, "names": list, "maps": dict, "rows": list}
    content = read_json(file, kinds)
    maps = [
        Scatter(
            title=f"{name} of the features, {title}",
            points=[tuple(point) for point in points],
            groups=content["labels"],
            names=content["classes"],
            texts=content["names"],
            sheet=folder / "map.jpg",
            thumb=THUMBNAIL,
            per_row=THUMBNAILS_PER_ROW,
        )
        for name, points in content["maps"].items()
    ]
    sheet = cv2.cvtColor(picture_file(folder / "neighbours.jpg")[1], cv2.COLOR_BGR2RGB)
    rows = [
        _gallery_row(
            row, np.asarray(sheet[number * TILE : (number + 1) * TILE]), content["classes"]
        )
        for number, row in enumerate(content["rows"])
    ]
    return maps, [Gallery(title=f"Nearest training images, {title}", rows=rows)]


def _gallery_row(
    row: dict[str, Any], strip: np.ndarray, classes: list[str]
) -> tuple[Picture, list[tuple[Picture, bool | None]]]:
    """Return a query and its neighbours from one row of the sheet."""
    query, *near = (
        Picture(image=strip[:, number * TILE : (number + 1) * TILE], alt=classes[label])
        for number, label in enumerate([row["label"], *row["near"]])
    )
    return query, [
        (picture, label == row["label"]) for picture, label in zip(near, row["near"], strict=True)
    ]
