"""Read the files of YOLO's layout: ``data.yaml``, lists of images, text files of objects."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from massrl.data.sources.name_lists import NamedFiles, composed, read_lines
from massrl.data.sources.paired_folders import Parts, folders_of, image_parts
from massrl.errors import DataError

LABEL_FOLDERS = ("labels", "label")
_DATA_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_NAME_FILES = ("classes.txt", "obj.names", "labels.txt", "labels/classes.txt", "_darknet.labels")
_KEYS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
_BEYOND = 1.0  # how far a fraction may lie beyond the image, which is clipped; pixels lie further
_ACCEPTED = (
    "accepted: class, centre x, centre y, width, height as fractions of the image, or class and three or "
    "more points x y of a polygon"
)


@dataclass(frozen=True, kw_only=True)
class YoloSet:
    """A data set in YOLO's layout.

    Attributes:
        root: its folder.
        parts: folders of images, or lists of them, by role; "" where they are not divided.
        names: of the classes, as ``data.yaml`` has them; None without one.
        has_keypoints: whether keypoints follow the box of an object, as ``kpt_shape`` says.
    """

    root: Path
    parts: Parts
    names: Any = None
    has_keypoints: bool = False

    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes, empty if no file has them.

        Raises:
            DataError: if the file cannot be used.
        """
        if self.names:
            return _names(self.names, self.root)
        for name in _NAME_FILES:
            file = self.root / name
            if file.is_file():
                try:
                    return _names([line for _, line in read_lines(file)], file)
                except (OSError, UnicodeDecodeError) as error:
                    raise DataError(f"{file} cannot be read: {error}") from None
        return ()


class YoloObject(NamedTuple):
    """One object.

    Attributes:
        class_number: from 0.
        box: x1, y1, x2, y2 as fractions of width and height, not clipped.
    """

    class_number: int
    box: tuple[float, float, float, float]


def yolo_set(path: Path) -> YoloSet | None:
    """Return the set of a folder in YOLO's layout, or of its ``data.yaml``; None of anything else."""
    if path.suffix.lower() in (".yaml", ".yml"):
        return _of_data_file(path) if path.is_file() else None
    if not path.is_dir():
        return None
    for name in _DATA_FILES:
        found = _of_data_file(path / name) if (path / name).is_file() else None
        if found is not None:
            return found
    parts = image_parts(path, LABEL_FOLDERS, (".txt",))
    for name in _DATA_FILES if parts else ():
        if (path / name).is_file():
            raise DataError(
                f"{path / name} cannot be used; accepted: YAML with names: of the classes"
            )
    return YoloSet(root=path, parts=parts) if parts else None


def _of_data_file(path: Path) -> YoloSet | None:
    """Read ``data.yaml``; None if it is a file of another kind, or names no images that are there."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None
    if not isinstance(content, Mapping) or not {"names", "nc"} & content.keys():
        return None
    root = path.parent
    path_to = content.get("path")
    base = root / path_to if isinstance(path_to, str) else root
    parts: Parts = {}
    for kind, keys in _KEYS.items():
        value = next((content[key] for key in keys if content.get(key)), None)
        items = value if isinstance(value, list) else [value]
        texts = [item for item in items if isinstance(item, str)]
        found = [place for item in texts if (place := _place(item, base, root))]
        if found:
            parts[kind] = found
    if "train" not in parts:
        parts = image_parts(root, LABEL_FOLDERS, (".txt",))
    if not parts:
        return None
    names, has_keypoints = content.get("names"), bool(content.get("kpt_shape"))
    return YoloSet(root=root, parts=parts, names=names, has_keypoints=has_keypoints)


def _place(text: str, base: Path, root: Path) -> Path | None:
    """Return a folder or list that ``data.yaml`` names, also where the set has been moved since."""
    text = text.strip().replace("\\", "/")
    inner = text
    while inner.startswith(("../", "./")):
        inner = inner.partition("/")[2]
    for path in (base / text, root / text, root / inner):
        if os.path.exists(path):  # noqa: PTH110  # False for a name that cannot exist
            return path
    return None


def _names(value: Any, path: Path) -> tuple[str, ...]:
    """Return class names that stand in a list, or by their numbers."""
    if isinstance(value, Mapping) and all(isinstance(key, str | int) for key in value):
        by_number = {str(key).strip(): item for key, item in value.items()}
        if by_number.keys() != {str(number) for number in range(len(by_number))}:
            shown = ", ".join(by_number)
            raise DataError(f"{path}: classes have the numbers {shown}; accepted: from 0, no gaps")
        value = [by_number[str(number)] for number in range(len(by_number))]
    items = value if isinstance(value, list) else []
    if not items or not all(isinstance(item, str | int | float) for item in items):
        raise DataError(f"{path}: names of classes are no texts; accepted: a list of names")
    names = tuple(composed(str(item).strip()) for item in items)
    if len(set(names)) < len(names):
        raise DataError(f"{path} names a class twice: {', '.join(names)}")
    return names


def listed_images(found: YoloSet, split: str, *, flag: str) -> list[Path]:
    """Return the images of a split of which text files list the paths, one a line.

    Raises:
        DataError: if a list cannot be read, or names images that are not there.
    """
    paths: list[Path] = []
    for file in folders_of(found.parts, split, root=found.root, flag=flag):
        if file.is_dir():
            raise DataError(
                f"{found.root} has folders and lists of images; accepted: either ({flag})"
            )
        try:
            lines = [line for _, line in read_lines(file)]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file} cannot be read: {error} ({flag})") from None
        files = NamedFiles(file.parent, flag=flag, shorten=True)
        paths += [file.parent / name for name in files.find_all(lines, what=str(file))]
    return list(dict.fromkeys(paths))


def read_labels(
    path: Path, *, flag: str, has_keypoints: bool = False
) -> tuple[list[YoloObject], Counter[str]]:
    """Read the objects of one image.

    Args:
        path: the text file.
        flag: where the user gave the set, for errors.
        has_keypoints: whether keypoints follow the box, which are left out; else more than four numbers
            are a polygon.

    Returns:
        The objects; and the number of those left out, by reason.

    Raises:
        DataError: if a line is of another format.
    """
    try:
        lines = read_lines(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error} ({flag})") from None
    objects: dict[tuple[float, ...], YoloObject] = {}
    left_out: Counter[str] = Counter()
    for number, line in lines:
        try:
            values = tuple(float(word) for word in line.split())
            found = _object(values[:5] if has_keypoints else values)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {error}; {_ACCEPTED} ({flag})") from None
        if values in objects:
            left_out["that stand twice in a file"] += 1
        elif not _is_usable(found.box):
            left_out["without width or height in the image"] += 1
        else:
            objects[values] = found
    return list(objects.values()), left_out


def _object(values: tuple[float, ...]) -> YoloObject:
    if len(values) != 5 and (len(values) < 7 or len(values) % 2 == 0):
        raise ValueError(f"{len(values)} numbers")
    number, *rest = values
    if not number.is_integer() or number < 0:
        raise ValueError(f"class {number:g}")
    outside = [value for value in rest if not -_BEYOND <= value <= 1 + _BEYOND]
    if outside:
        raise ValueError(f"{outside[0]:g} is no fraction of the image")
    if len(rest) == 4:
        x, y, width, height = rest
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    else:
        box = (min(rest[::2]), min(rest[1::2]), max(rest[::2]), max(rest[1::2]))
    return YoloObject(int(number), box)


def _is_usable(box: tuple[float, float, float, float]) -> bool:
    left, top, right, bottom = (min(max(side, 0.0), 1.0) for side in box)
    return right > left and bottom > top and all(math.isfinite(side) for side in box)
