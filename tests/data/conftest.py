"""Small data sets on disk, in the layouts of Pascal VOC and COCO, as folders and as torchvision's."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from tests.conftest import photos

XML = """<annotation><size><width>20</width><height>10</height></size>{objects}</annotation>"""

OBJECT = """<object><name>{name}</name><difficult>{hard}</difficult>
<bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"""


def voc(root: Path, names: tuple[str, str] = ("cell", "plate")) -> Path:
    """Write five images of 20 × 10: two in the list train, one in test, two in no list."""
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / part).mkdir(parents=True)
    for number in range(5):
        cv2.imwrite(
            str(root / "JPEGImages" / f"i{number}.png"), np.full((10, 20, 3), 50 * number, np.uint8)
        )
        objects = OBJECT.format(name=names[0], hard=0, box=(1, 2, 10, 10))
        objects += OBJECT.format(name=names[1], hard=1, box=(11, 1, 30, 4))  # beyond the edge
        objects += OBJECT.format(name=names[1], hard=0, box=(5, 6, 4, 6))  # nothing
        (root / "Annotations" / f"i{number}.xml").write_text(XML.format(objects=objects))
    (root / "ImageSets" / "Main" / "train.txt").write_text("i0\ni1 \n")
    (root / "ImageSets" / "Main" / "test.txt").write_text("i2\n")
    return root


def masked(root: Path, mask: Image.Image, *, names: str | None = None) -> Path:
    """Write the layout with a mask for its second image, and ``labelmap.txt`` where names are given.

    The image has the mask's size.
    """
    voc(root)
    Image.new("RGB", mask.size).save(root / "JPEGImages" / "i1.png")
    (root / "ImageSets" / "Segmentation").mkdir()
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("i1\n")
    (root / "SegmentationClass").mkdir()
    mask.save(root / "SegmentationClass" / "i1.png")
    if names is not None:
        (root / "labelmap.txt").write_text(names)
    return root


def coco(folder: Path) -> Path:
    """Write two images of 12 × 10: of polygons, of run lengths, a crowd, and an empty box."""
    (folder / "images").mkdir(parents=True)
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(folder / "images" / name), np.zeros((10, 12, 3), np.uint8))
    square = [2, 3, 6, 3, 6, 8, 2, 8]
    runs = {"size": [10, 12], "counts": [0, 10, 110]}  # the first column
    objects: list[dict[str, Any]] = [
        {"image_id": 7, "category_id": 30, "bbox": [2, 3, 4, 5], "segmentation": [square]},
        {
            "image_id": 7,
            "category_id": 2,
            "bbox": [0, 0, 1, 10],
            "segmentation": runs,
            "iscrowd": 1,
        },
        {"image_id": 7, "category_id": 2, "bbox": [0, 0, 0, 10], "segmentation": runs},
    ]
    content = {
        "images": [{"id": 9, "file_name": "b.png"}, {"id": 7, "file_name": "a.png"}],
        "categories": [{"id": 30, "name": "tree"}, {"id": 2, "name": "car"}],
        "annotations": objects,
    }
    (folder / "own.json").write_text(json.dumps(content))
    return folder / "own.json"


@pytest.fixture
def pets(tmp_path: Path, write: Callable[..., Path]) -> Path:
    """A folder of two classes and five images, of five formats."""
    names = ["cat/b.jpg", "cat/a.PNG", "dog/c.webp", "dog/d.bmp", "dog/e.gif"]
    for seed, name in enumerate(names):
        write(tmp_path / "pets" / name, seed=seed)
    return tmp_path / "pets"


@pytest.fixture
def odd_names(tmp_path: Path) -> Path:
    """Ten images of two classes, with names that tar and WebDataset would stumble over."""
    folder = photos(tmp_path / "photos", "ä b", "c.d")
    (folder / "ä b" / "0.png").rename(folder / "ä b" / ("long " * 40 + "é.png"))
    return folder


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network; torchvision's checksums of the real files are not checked."""
    import torchvision.datasets as vision

    def refuse(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    for module in (vision.cifar, vision.stl10, vision.flowers102, vision.imagenet):
        monkeypatch.setattr(module, "check_integrity", lambda path, *_, **__: Path(path).exists())
