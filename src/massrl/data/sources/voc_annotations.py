"""Read annotations in Pascal VOC's layout: an XML file for each image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from massrl.data.frames import Frame, Size
from massrl.data.sources.name_lists import composed
from massrl.errors import DataError

_MARKS = {"1": True, "true": True, "0": False, "false": False, "": False}


class VocObject(NamedTuple):
    """One object of an annotation.

    Attributes:
        class_name: name of its class.
        box: x1, y1, x2, y2 in annotated pixels from 0, ends excluded, not clipped.
        difficult: whether evaluation ignores it.
    """

    class_name: str
    box: tuple[float, float, float, float]
    difficult: bool


def object_boxes(objects: Sequence[VocObject], frame: Frame) -> np.ndarray:
    """Return x1, y1, x2, y2 of objects, float64 ``(K, 4)``, in pixels of an image that lies so."""
    return np.array([item.box for item in objects], float).reshape(-1, 4) * (frame.scale * 2)


def read_annotation(path: Path) -> tuple[Size | None, list[VocObject]]:
    """Read the annotation of an image.

    Returns:
        The annotated height and width, None where it is not given, which some tools write as 0; and the
        objects.

    Raises:
        DataError: if the file is missing or broken.
    """
    try:
        root = ElementTree.parse(path).getroot()
        return _read_size(root), [_read_object(item) for item in root.iter("object")]
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{path} is no annotation of Pascal VOC: {error}") from None


def _read_size(root: ElementTree.Element) -> Size | None:
    sides = [float(root.findtext(f"size/{key}") or 0) for key in ("height", "width")]
    if not all(side % 1 == 0 for side in sides):
        raise ValueError(f"a size of {sides[1]} × {sides[0]} pixels")
    return (int(sides[0]), int(sides[1])) if min(sides) > 0 else None


def _read_object(item: ElementTree.Element) -> VocObject:
    """Read one object; VOC counts pixels from 1, both ends included."""
    box, name = item.find("bndbox"), composed(item.findtext("name", "").strip())
    if box is None:
        raise ValueError("an object without a box")
    left, top, right, bottom = (
        float(box.findtext(key, "")) for key in ("xmin", "ymin", "xmax", "ymax")
    )
    if not name:
        raise ValueError("an object without a name")
    difficult = item.findtext("difficult", "0").strip()
    if difficult.lower() not in _MARKS:
        raise ValueError(f"an object with difficult {difficult!r}; accepted: 0 and 1")
    return VocObject(name, (left - 1, top - 1, right, bottom), _MARKS[difficult.lower()])
