"""Read annotation files in COCO's layout, and say what of them cannot be used."""

from __future__ import annotations

import json
import math
import posixpath
import re
import reprlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from massrl.data.frames import Size, same_proportions
from massrl.data.sources.coco_masks import run_length_box
from massrl.data.sources.name_lists import composed
from massrl.errors import DataError

# What values of other types raise, which any tool may have written.
_FAULTS = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)

Key = int | str
"""An id: a whole number, however it is written, or else a text."""


class CocoObject(NamedTuple):
    """One annotation.

    Attributes:
        number: its id, for messages.
        category: id of its category.
        box: x1, y1, x2, y2 in annotated pixels, not clipped.
        segmentation: as the file has it; None without one.
        crowd: whether it is a group of objects.
    """

    number: Any
    category: Key
    box: tuple[float, float, float, float]
    segmentation: Any
    crowd: bool


@dataclass(frozen=True, kw_only=True)
class CocoAnnotations:
    """What an annotation file says, in the order of the images' ids.

    Attributes:
        names: file name of each image.
        sizes: height and width of each image; None where the file gives none.
        objects: of each image.
        categories: names by ids, in the order of the ids.
        left_out: number of annotations that belong to no image, or stand twice in the file, by reason.
    """

    names: list[str]
    sizes: list[Size | None]
    objects: list[list[CocoObject]]
    categories: dict[Key, str]
    left_out: Counter[str] = field(default_factory=Counter)


def read_annotations(path: Path, *, flag: str) -> CocoAnnotations:
    """Read an annotation file.

    Ids may be written as numbers or as texts. Of annotations with the same id and content one counts.

    Args:
        path: the JSON file.
        flag: where the user gave it, for errors.

    Raises:
        DataError: if it is not of this layout; if two images or two categories share an id or a name; or if
            an annotation has no box, names no category, or none of them belongs to an image.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        images = _by_id(content["images"], "images")
        categories = {
            key: composed(str(item["name"]))
            for key, item in _by_id(content["categories"], "categories").items()
        }
        names = [_file_name(item) for item in images.values()]
        _refuse_twice([posixpath.normpath(name) for name in names], "images of the file name")
        sizes = {key: _size(item.get("width"), item.get("height")) for key, item in images.items()}
        objects, left_out = _read_objects(content["annotations"], sizes, categories)
        categories = _without_unused_doubles(categories, objects)
    except KeyError as error:
        raise DataError(
            f"{path} is no annotation file of COCO: it lacks {error} ({flag})"
        ) from None
    except _FAULTS as error:
        raise DataError(f"{path} is no annotation file of COCO: {error} ({flag})") from None
    return CocoAnnotations(
        names=names,
        sizes=list(sizes.values()),
        objects=list(objects.values()),
        categories=categories,
        left_out=left_out,
    )


def _by_id(items: Sequence[Mapping[str, Any]], what: str) -> dict[Key, Mapping[str, Any]]:
    """Return images or categories by their ids, numbers first."""
    keys = [_key(item["id"], "id") for item in items]
    _refuse_twice(keys, f"{what} of the id")
    pairs = zip(keys, items, strict=True)
    return dict(sorted(pairs, key=lambda pair: (isinstance(pair[0], str), pair[0])))


def _key(value: Any, what: str) -> Key:
    """Return an id as a number where it is a whole one, whether written 7, 7.0 or "7"; else as text."""
    if isinstance(value, str) and value.strip():
        text = value.strip()
        return int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else text
    if isinstance(value, int | float) and not isinstance(value, bool) and value % 1 == 0:
        return int(value)
    raise ValueError(f"{what} is {reprlib.repr(value)}; accepted: whole numbers and texts")


def _refuse_twice(values: Sequence[Key], what: str) -> None:
    """Refuse keys that stand for two things."""
    if len(set(values)) == len(values):
        return
    twice = [value for value, count in Counter(values).items() if count > 1]
    more = f", and {len(twice) - 1} more such" if len(twice) > 1 else ""
    raise ValueError(f"it has several {what} {reprlib.repr(twice[0])}{more}")


def _file_name(image: Mapping[str, Any]) -> str:
    name = image["file_name"]
    if not isinstance(name, str) or not name:
        raise ValueError(f"file_name is {reprlib.repr(name)}; accepted: texts")
    return name


def _size(width: Any, height: Any) -> Size | None:
    """Return height and width; None where they are not given, which some tools write as 0."""
    if width in (None, "") or height in (None, ""):
        return None
    sides = (float(height), float(width))
    if not all(math.isfinite(side) and side % 1 == 0 for side in sides):
        raise ValueError(
            f"width and height are {reprlib.repr(width)} and {reprlib.repr(height)}; accepted: whole numbers"
        )
    return (int(sides[0]), int(sides[1])) if min(sides) > 0 else None


def _read_objects(
    annotations: Sequence[Mapping[str, Any]],
    sizes: dict[Key, Size | None],
    categories: Mapping[Key, str],
) -> tuple[dict[Key, list[CocoObject]], Counter[str]]:
    """Return the objects of each image; sizes that only a mask gives are added to ``sizes``."""
    objects: dict[Key, list[CocoObject]] = {key: [] for key in sizes}
    seen: set[tuple[Any, ...]] = set()
    left_out: Counter[str] = Counter()
    for item in annotations:
        image = _key(item["image_id"], "image_id")
        if image not in objects:
            left_out["of no image in the file"] += 1
            continue
        found = _object(item)
        if found.category not in categories:
            raise ValueError(
                f"annotation {found.number} has the category {reprlib.repr(found.category)}, which is none"
            )
        if found.number is not None:
            mark = (found.number, image, found.category, found.box)
            if mark in seen:
                left_out["that stand twice in the file"] += 1
                continue
            seen.add(mark)
        if isinstance(found.segmentation, Mapping):
            sizes[image] = _size_with_mask(sizes[image], found)
        objects[image].append(found)
    if annotations and not any(objects.values()):
        value = annotations[0]["image_id"]
        known = next(iter(objects), None)
        raise ValueError(
            f"none of its {len(annotations)} annotations belongs to an image: image_id is such as "
            f"{reprlib.repr(value)}, the images' ids are such as {reprlib.repr(known)}"
        )
    return objects, left_out


def _object(item: Mapping[str, Any]) -> CocoObject:
    number = item.get("id")
    segmentation = item.get("segmentation") or None
    box = item.get("bbox") or _box_around(segmentation)
    numbers = [float(side) for side in box or ()]
    if len(numbers) != 4:
        raise ValueError(f"annotation {number} has no valid box: {reprlib.repr(box)}")
    left, top, width, height = numbers
    return CocoObject(
        number=number if isinstance(number, int | float | str) else None,
        category=_key(item["category_id"], "category_id"),
        box=(left, top, left + width, top + height),
        segmentation=segmentation,
        crowd=bool(int(item.get("iscrowd") or 0)),
    )


def _box_around(segmentation: Any) -> list[float] | None:
    """Return x, y, width and height of polygons or of run lengths."""
    if isinstance(segmentation, list):
        points = np.concatenate(
            [np.asarray(polygon, float).reshape(-1, 2) for polygon in segmentation]
        )
        begin, end = points.min(axis=0), points.max(axis=0)
        return [*begin.tolist(), *(end - begin).tolist()]
    if isinstance(segmentation, Mapping):
        return run_length_box(segmentation)
    return None


def _size_with_mask(size: Size | None, item: CocoObject) -> Size:
    """Return the size of an image, which that of a mask must be a scaling of."""
    height, width = item.segmentation["size"]
    own = _size(width, height)
    if own is None or (size is not None and not same_proportions(size, own)):
        wanted = f", its image {size[1]} × {size[0]}" if size else ""
        raise ValueError(
            f"the mask of annotation {item.number} is of {width} × {height} pixels{wanted}"
        )
    return size or own


def _without_unused_doubles(
    categories: dict[Key, str], objects: Mapping[Key, list[CocoObject]]
) -> dict[Key, str]:
    """Return the categories, of which two may share a name if only one of them has objects."""
    names = Counter(categories.values())
    if max(names.values(), default=1) == 1:
        return categories
    used = {item.category for items in objects.values() for item in items}
    kept = {key: name for key, name in categories.items() if names[name] == 1 or key in used}
    _refuse_twice(list(kept.values()), "categories of the name")
    return kept
