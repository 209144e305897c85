"""The feature report as blocks of a run's page."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from massrl.evaluation.tasks.feature_maps import THUMBNAIL, THUMBNAILS_PER_ROW, TILE
from massrl.report.content import Gallery, Picture, Scatter


def load_feature_report(folder: Path, title: str) -> tuple[list[Scatter], list[Gallery]]:
    """Maps and gallery of a folder that ``--task features`` wrote; empty where there is none."""
    files = [folder / name for name in ("features.json", "look.json")]  # the latter: version 0.1.0
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        return [], []
    content = json.loads(file.read_text(encoding="utf-8"))
    classes = content["classes"]
    maps = [
        Scatter(
            title=f"{name} of the features, {title}",
            points=[tuple(point) for point in points],
            groups=content["labels"],
            names=classes,
            texts=content["names"],
            sheet=folder / "map.jpg",
            thumb=THUMBNAIL,
            per_row=THUMBNAILS_PER_ROW,
        )
        for name, points in content["maps"].items()
    ]
    pixels = cv2.cvtColor(cv2.imread(str(folder / "neighbours.jpg")), cv2.COLOR_BGR2RGB)
    rows = []
    for number, row in enumerate(content["rows"]):
        cells = [
            pixels[
                number * TILE : (number + 1) * TILE,
                place * TILE : (place + 1) * TILE,
            ]
            for place in range(1 + len(row["near"]))
        ]
        query = Picture(image=np.asarray(cells[0]), alt=classes[row["label"]])
        near = [
            (Picture(image=np.asarray(cell), alt=classes[label]), label == row["label"])
            for cell, label in zip(cells[1:], row["near"], strict=True)
        ]
        rows.append((query, near))
    return maps, [Gallery(title=f"Nearest images that were learnt from, {title}", rows=rows)]
