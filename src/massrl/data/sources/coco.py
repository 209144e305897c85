"""Objects in COCO's layout: one JSON file of images, categories, boxes and masks."""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from massrl.data.annotated import ObjectSource, Scene
from massrl.data.source import Source
from massrl.data.sources.base import OpenOptions, SourceKind, Spec
from massrl.data.sources.folders import FileSource
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


class CocoSource(FileSource, ObjectSource):
    """Images that a JSON file in COCO's layout names, with their objects.

    Args:
        path: the JSON file.
        images: folder of the images; by default the first of those beside the file, or one level up,
            that has them: the file's own, ``images``, and the one that its name ends in (``train2017``).
        flag: where the user gave the file, for errors.

    Raises:
        DataError: if the file is not of this layout, or images are missing.
    """

    def __init__(self, path: Path, *, images: Path | None = None, flag: str) -> None:
        names, categories, self._objects = _read_annotations(path, flag=flag)
        if not names:
            raise DataError(f"{path} names no images ({flag})")
        folder = images or _folder(path, names[0], flag=flag)
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise DataError(f"{folder} lacks {missing[0]} and {len(missing) - 1} more ({flag})")
        super().__init__(path.stem, folder, names=names)
        self._classes = {number: index for index, number in enumerate(categories)}
        self.object_names = tuple(categories.values())
        objects = [item for items in self._objects for item in items]
        self.has_masks = self.has_maps = bool(objects) and all(
            item.get("segmentation") for item in objects
        )

    def scene(self, index: int) -> Scene:
        """See ``ObjectSource.scene``; boxes are clipped to the image, and empty ones left out."""
        image = decode(self.read(index), name=self.describe(index))
        height, width = image.shape[:2]
        boxes = np.array([item["bbox"] for item in self._objects[index]], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        boxes = np.clip(boxes, 0, [width, height] * 2).astype(np.float32)
        inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        boxes, objects = boxes[inside], [self._objects[index][k] for k in np.flatnonzero(inside)]
        return Scene(
            image=image,
            boxes=boxes,
            labels=np.array([self._classes[item["category_id"]] for item in objects], np.int64),
            masks=self._read_masks(index, objects, (height, width)) if self.has_masks else None,
            crowd=np.array([bool(item.get("iscrowd", 0)) for item in objects], bool),
        )

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
        used = {item["category_id"] for items in self._objects for item in items}
        return tuple(self.object_names[self._classes[number]] for number in sorted(used))

    def _read_masks(
        self, index: int, objects: list[dict[str, Any]], size: tuple[int, int]
    ) -> np.ndarray:
        masks = np.zeros((len(objects), *size), bool)
        for mask, item in zip(masks, objects, strict=True):
            try:
                mask[:] = object_mask(item["segmentation"], size)
            except ConfigError:
                raise
            except Exception as error:  # pycocotools raises whatever it likes
                raise DataError(
                    f"{self.describe(index)}: the mask of annotation {item.get('id')} is broken: {error}"
                ) from None
        return masks


def object_mask(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """Decode the pixels of an object from polygons or from COCO's run lengths.

    Args:
        segmentation: as the annotation file has it.
        size: height and width of the image.

    Returns:
        bool ``(height, width)``.

    Raises:
        ConfigError: if pycocotools is not installed.
    """
    try:
        from pycocotools import mask as coco
    except ImportError:
        raise ConfigError("masks of COCO need pycocotools: pip install 'massrl[detect]'") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy warns of what pycocotools does
        if isinstance(segmentation, list):
            runs = coco.merge(coco.frPyObjects(segmentation, *size))
        elif isinstance(segmentation["counts"], list):
            runs = coco.frPyObjects(segmentation, *size)
        else:
            runs = segmentation
        return np.asarray(coco.decode(runs)).astype(bool)


def _read_annotations(
    path: Path, *, flag: str
) -> tuple[list[str], dict[int, str], list[list[dict[str, Any]]]]:
    """Read file names, names of the categories by their numbers, and annotations of each image."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        images = sorted(content["images"], key=lambda item: item["id"])
        categories = {
            item["id"]: str(item["name"])
            for item in sorted(content["categories"], key=lambda item: item["id"])
        }
        objects: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for item in content["annotations"]:
            objects[item["image_id"]].append(item)
            numbers = [float(number) for number in item["bbox"]]
            if len(numbers) != 4 or item["category_id"] not in categories:
                raise ValueError(f"annotation {item.get('id')} has no valid box or category")
        return (
            [item["file_name"] for item in images],
            categories,
            [objects[item["id"]] for item in images],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no annotation file of COCO: {error!r} ({flag})") from None


def _folder(path: Path, name: str, *, flag: str) -> Path:
    """Find the folder of the images near the annotation file."""
    near = [path.parent, path.parent.parent]
    ends = path.stem.rpartition("_")[2]
    folders = [*near, *(base / part for base in near for part in ("images", ends))]
    for folder in folders:
        if (folder / name).is_file():
            return folder
    raise DataError(
        f"{name} is in none of {', '.join(map(str, folders))}: --data.root sets the folder ({flag})"
    )
