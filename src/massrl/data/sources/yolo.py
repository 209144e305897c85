"""Objects in YOLO's layout: a text file for each image, class names in ``data.yaml``."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from massrl.data.annotated import ObjectSource, Scene
from massrl.data.frames import describe_left_out
from massrl.data.source import Source
from massrl.data.sources.base import OpenOptions, SourceKind, Spec
from massrl.data.sources.folders import FileSource, relative_names
from massrl.data.sources.name_lists import FileNames
from massrl.data.sources.paired_folders import beside, has_validation, images_of
from massrl.data.sources.yolo_files import (
    LABEL_FOLDERS,
    YoloObject,
    YoloSet,
    listed_images,
    read_labels,
    yolo_set,
)
from massrl.errors import DataError
from massrl.images.decode import decode

logger = logging.getLogger("massrl")


class YoloKind(SourceKind):
    """Folders in YOLO's layout, or their ``data.yaml``."""

    objects_form = "a folder in YOLO's layout (images/train/a.jpg, labels/train/a.txt, data.yaml)"

    def matches(self, spec: Spec) -> bool:
        """See ``SourceKind.matches``."""
        return spec.labelled is None and yolo_set(spec.path) is not None

    def open(self, spec: Spec, options: OpenOptions) -> Source:
        """See ``SourceKind.open``."""
        found = _set_of(spec, flag=options.flag)
        paths = _images(found, options)
        return FileSource(
            _name(found, options.split), found.root, names=relative_names(paths, found.root)
        )

    def matches_objects(self, spec: Spec) -> bool:
        """See ``SourceKind.matches_objects``."""
        return self.matches(spec)

    def open_objects(self, spec: Spec, options: OpenOptions, *, maps: bool) -> ObjectSource:
        """See ``SourceKind.open_objects``."""
        return YoloSource(_set_of(spec, flag=options.flag), options)

    def annotated_parts(self, spec: Spec) -> Sequence[tuple[str, bool]]:
        """See ``SourceKind.annotated_parts``."""
        found = yolo_set(spec.path)
        parts = (("train", False), ("val", False))
        return parts if found is not None and has_validation(found.parts) else parts[:1]

    def validation_spec(self, spec: Spec) -> str | None:
        """See ``SourceKind.validation_spec``."""
        found = yolo_set(spec.path)
        return spec.text if found is not None and has_validation(found.parts) else None


class YoloSource(FileSource, ObjectSource):
    """The images of one part of a set in YOLO's layout, with their objects; polygons become their boxes.

    Images without a text file have no objects.

    Args:
        found: the set.
        options: the split, and where the user gave the set.

    Raises:
        DataError: if there are no images or no text files, or if a text file is of another format.
    """

    def __init__(self, found: YoloSet, options: OpenOptions) -> None:
        split, flag = options.split, options.flag
        paths = _images(found, options)
        super().__init__(_name(found, split), found.root, names=relative_names(paths, found.root))
        files = _label_files(paths)
        if not any(files):
            raise DataError(
                f"none of {len(paths)} images such as {paths[0]} has a text file; accepted: images/a.jpg "
                f"beside labels/a.txt ({flag})"
            )
        self._objects: list[list[YoloObject]] = []
        self._numbers: list[int] = []  # class of each number in the files
        left_out: Counter[str] = Counter()
        for file in files:
            objects, dropped = (
                read_labels(file, flag=flag, has_keypoints=found.has_keypoints)
                if file
                else ([], Counter())
            )
            self._objects.append(objects)
            left_out += dropped
        self.object_names = self._class_names(found, flag=flag)
        total = sum(map(len, self._objects)) + left_out.total()
        self.notes = tuple(describe_left_out(left_out, total=total))

    def scene(self, index: int) -> Scene:
        """See ``ObjectSource.scene``; boxes are clipped to the image, and empty ones left out."""
        image = decode(self.read(index), name=self.describe(index))
        height, width = image.shape[:2]
        items = self._objects[index]
        fractions = np.array([item.box for item in items], float).reshape(-1, 4)
        boxes = (np.clip(fractions, 0, 1) * [width, height, width, height]).astype(np.float32)
        usable = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        names = [self._numbers[item.class_number] for item in items]
        return Scene(
            image=image,
            boxes=boxes[usable],
            labels=np.array(names, np.int64)[usable],
            masks=None,
            crowd=np.zeros(int(usable.sum()), bool),
        )

    def object_counts(self) -> np.ndarray:
        """See ``ObjectSource.object_counts``."""
        return np.array([len(items) for items in self._objects], np.int64)

    def set_object_names(self, names: tuple[str, ...]) -> None:
        """See ``ObjectSource.set_object_names``."""
        self._numbers = [
            names.index(name) if name in names else -1
            for name in (self.object_names[number] for number in self._numbers)
        ]
        self.object_names = names

    @property
    def used_names(self) -> tuple[str, ...]:
        """See ``ObjectSource.used_names``."""
        used = {self._numbers[item.class_number] for items in self._objects for item in items}
        return tuple(self.object_names[number] for number in sorted(used))

    def _class_names(self, found: YoloSet, *, flag: str) -> tuple[str, ...]:
        greatest = max((item.class_number for items in self._objects for item in items), default=-1)
        if greatest < 0:
            raise DataError(f"{self.name} has no objects in its text files ({flag})")
        names = found.class_names() or tuple(str(number) for number in range(greatest + 1))
        if not found.class_names():
            logger.warning(
                "%s: classes are called by their numbers, as neither data.yaml nor classes.txt names them",
                self.name,
            )
        if greatest >= len(names):
            raise DataError(
                f"{self.name} has objects of class {greatest}, but {found.root} names {len(names)} "
                f"classes, from 0 ({flag})"
            )
        self._numbers = list(range(len(names)))
        return names


def _set_of(spec: Spec, *, flag: str) -> YoloSet:
    found = yolo_set(spec.path)
    if found is None:
        raise DataError(f"{spec.text} is not in YOLO's layout ({flag})")
    return found


def _images(found: YoloSet, options: OpenOptions) -> list[Path]:
    """Return the images of a split, of folders and of lists."""
    if not any(path.is_file() for paths in found.parts.values() for path in paths):
        return images_of(found.parts, options, root=found.root)
    return listed_images(found, options.split, flag=options.flag)


def _name(found: YoloSet, split: str) -> str:
    return f"{found.root.resolve().name}/{split}"


def _label_files(images: list[Path]) -> list[Path | None]:
    """Return the text file of each image: in ``labels`` for ``images``, or beside it."""
    folders: dict[Path, tuple[list[Path], FileNames]] = {}
    found = []
    for path in images:
        if path.parent not in folders:
            folder = beside(path.parent, LABEL_FOLDERS, (".txt",)) or path.parent
            files = sorted(folder.glob("*.txt"))
            folders[path.parent] = files, FileNames([file.name for file in files])
        files, names = folders[path.parent]
        indices = names.find(f"{path.stem}.txt")
        found.append(files[indices[0]] if indices else None)
    return found
