"""Objects in COCO's layout: one JSON file of images, categories, boxes and masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from massrl.data.annotated import ObjectSource, Scene
from massrl.data.frames import (
    Frame,
    as_annotated,
    clip_boxes,
    describe_left_out,
    find_frames,
    unusable_reason,
)
from massrl.data.source import Source
from massrl.data.sources.base import OpenOptions, SourceKind, Spec
from massrl.data.sources.coco_annotations import CocoObject, read_annotations
from massrl.data.sources.coco_masks import object_mask
from massrl.data.sources.folders import FileSource
from massrl.data.sources.name_lists import NamedFiles
from massrl.errors import ConfigError, DataError
from massrl.images.decode import decode


class CocoKind(SourceKind):
    """JSON files in COCO's layout, for tasks that need objects."""

    objects_form = "a JSON file in COCO's layout"

    def matches(self, spec: Spec) -> bool:
        """Never: without objects, a folder of the images is opened."""
        return False

    def open(self, spec: Spec, options: OpenOptions) -> Source:
        """See ``SourceKind.open``."""
        return self.open_objects(spec, options, maps=False)

    def matches_objects(self, spec: Spec) -> bool:
        """See ``SourceKind.matches_objects``."""
        return spec.labelled is None and spec.path.suffix == ".json"

    def open_objects(self, spec: Spec, options: OpenOptions, *, maps: bool) -> ObjectSource:
        """See ``SourceKind.open_objects``."""
        return CocoSource(spec.path, images=options.root, flag=options.flag)

    def annotated_parts(self, spec: Spec) -> Sequence[tuple[str, bool]]:
        """See ``SourceKind.annotated_parts``: a file is one part."""
        return (("train", False),)


class CocoSource(FileSource, ObjectSource):
    """Images that a JSON file in COCO's layout names, with their objects.

    Args:
        path: the JSON file.
        images: folder of the images; by default the first of those beside the file, or one level up,
            that has them: the file's own, ``images``, and the one that its name ends in (``train2017``).
        flag: where the user gave the file, for errors.

    Raises:
        DataError: if the file is not of this layout, images are missing, or an image has other proportions
            than annotated.
    """

    def __init__(self, path: Path, *, images: Path | None = None, flag: str) -> None:
        read = read_annotations(path, flag=flag)
        if not read.names:
            raise DataError(f"{path} names no images ({flag})")
        folder = images or _folder(path, read.names[0], flag=flag)
        files = NamedFiles(folder, flag=flag, shorten=True)
        names = files.find_all(read.names, what=path.name)
        super().__init__(path.stem, folder, names=names)
        self._classes = {number: index for index, number in enumerate(read.categories)}
        self.object_names = tuple(read.categories.values())
        paths = [self.path(index) for index in range(len(self))]
        self._frames, notes = find_frames(paths, read.sizes, flag=flag)
        total = sum(map(len, read.objects)) + read.left_out.total()
        self._objects = [
            _usable(items, frame, read.left_out)
            for items, frame in zip(read.objects, self._frames, strict=True)
        ]
        notes += describe_left_out(read.left_out, total=total)
        objects = [item for items in self._objects for item in items]
        without = sum(not item.segmentation for item in objects)
        self.has_masks = self.has_maps = bool(objects) and not without
        if 0 < without < len(objects):
            notes.append(
                f"{without} of {len(objects)} objects have no mask, so that no mask is used"
            )
        self.notes = tuple(notes)

    def image(self, index: int) -> np.ndarray:
        """See ``ObjectSource.image``."""
        encoded = self.read(index)
        image = decode(encoded, name=self.describe(index))
        return as_annotated(image, encoded, self._frames[index])

    def scene(self, index: int) -> Scene:
        """See ``ObjectSource.scene``; boxes are clipped to the image, and empty ones left out."""
        image = self.image(index)
        frame = self._frames[index] or Frame(image.shape[:2])
        boxes, usable = clip_boxes(_boxes(self._objects[index], frame), image.shape[:2])
        objects = [self._objects[index][k] for k in np.flatnonzero(usable)]
        return Scene(
            image=image,
            boxes=boxes[usable],
            labels=np.array([self._classes[item.category] for item in objects], np.int64),
            masks=self._read_masks(index, objects, frame) if self.has_masks else None,
            crowd=np.array([item.crowd for item in objects], bool),
        )

    def object_counts(self) -> np.ndarray:
        """See ``ObjectSource.object_counts``."""
        return np.array([sum(not item.crowd for item in items) for items in self._objects])

    def set_object_names(self, names: tuple[str, ...]) -> None:
        """See ``ObjectSource.set_object_names``."""
        classes = {name: index for index, name in enumerate(names)}
        self._classes = {
            number: classes.get(self.object_names[index], -1)
            for number, index in self._classes.items()
        }
        self.object_names = names

    @property
    def used_names(self) -> tuple[str, ...]:
        """See ``ObjectSource.used_names``."""
        used = {self._classes[item.category] for items in self._objects for item in items}
        return tuple(self.object_names[index] for index in sorted(used))

    def _read_masks(self, index: int, objects: list[CocoObject], frame: Frame) -> np.ndarray:
        masks = np.zeros((len(objects), *frame.size), bool)
        for mask, item in zip(masks, objects, strict=True):
            try:
                mask[:] = object_mask(item.segmentation, frame)
            except ConfigError:
                raise
            except Exception as error:  # pycocotools raises whatever it likes
                raise DataError(
                    f"{self.describe(index)}: the mask of annotation {item.number} is broken: {error}"
                ) from None
        return masks


def _boxes(objects: Sequence[CocoObject], frame: Frame) -> np.ndarray:
    """Return boxes ``(K, 4)`` in pixels of the image."""
    return np.array([item.box for item in objects], float).reshape(-1, 4) * (frame.scale * 2)


def _usable(
    objects: list[CocoObject], frame: Frame | None, left_out: Counter[str]
) -> list[CocoObject]:
    """Return the objects that have something of their box in the image; the others are counted."""
    if frame is None or not objects:
        return objects
    boxes = _boxes(objects, frame)
    _, usable = clip_boxes(boxes, frame.size)
    for box in boxes[~usable]:
        left_out[unusable_reason(box)] += 1
    return [item for item, is_usable in zip(objects, usable, strict=True) if is_usable]


def _folder(path: Path, name: str, *, flag: str) -> Path:
    """Find the folder of the images near the annotation file."""
    near = [path.parent, path.parent.parent]
    ends = path.stem.rpartition("_")[2]
    folders = [*near, *(base / part for base in near for part in ("images", ends))]
    for shorten in (False, True):
        for folder in folders:
            if NamedFiles(folder, flag=flag, shorten=shorten).find(name) is not None:
                return folder
    raise DataError(
        f"{name} is in none of {', '.join(map(str, folders))}: --data.root sets the folder ({flag})"
    )
