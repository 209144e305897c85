"""Objects in COCO's layout: one JSON file of images, categories, boxes and masks."""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from massrl.data.annotated import ObjectSource, Scene
from massrl.data.sources.folders import FileSource
from massrl.errors import ConfigError, DataError
from massrl.images.decode import decode


class CocoSource(FileSource, ObjectSource):
    """Images that a JSON file in COCO's layout names, with their objects.

    Args:
        path: the JSON file.
        images: folder of the images; by default the first of those beside the file, or one level up,
            that has them: the file's own, ``images``, and the one that its name ends in (``train2017``).
        flag: where the user said so, for errors.

    Raises:
        DataError: if the file is not of this layout, or images are missing.
    """

    def __init__(self, path: Path, *, images: Path | None = None, flag: str) -> None:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            entries = sorted(content["images"], key=lambda item: item["id"])
            categories = sorted(content["categories"], key=lambda item: item["id"])
            objects: dict[int, list[dict[str, Any]]] = defaultdict(list)
            for item in content["annotations"]:
                objects[item["image_id"]].append(item)
            names = [item["file_name"] for item in entries]
            known = {item["id"] for item in categories}
            for item in content["annotations"]:
                numbers = [float(number) for number in item["bbox"]]
                if len(numbers) != 4 or item["category_id"] not in known:
                    raise ValueError(f"annotation {item.get('id')}: its box or category is none")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is no annotation file of COCO: {error!r} ({flag})") from None
        if not names:
            raise DataError(f"{path} names no images ({flag})")
        folder = images or _folder(path, names[0], flag=flag)
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise DataError(f"{folder} lacks {missing[0]} and {len(missing) - 1} more ({flag})")
        super().__init__(path.stem, folder, names=names)
        self._objects = [objects[item["id"]] for item in entries]
        self._places = {item["id"]: place for place, item in enumerate(categories)}
        self.object_names = tuple(str(item["name"]) for item in categories)
        every = [item for items in self._objects for item in items]
        self.has_masks = self.has_maps = bool(every) and all(
            item.get("segmentation") for item in every
        )

    def scene(self, index: int) -> Scene:
        """See ``ObjectSource.scene``."""
        image = decode(self.read(index), name=self.describe(index))
        height, width = image.shape[:2]
        boxes = np.array([item["bbox"] for item in self._objects[index]], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        boxes = np.clip(boxes, 0, [width, height] * 2).astype(np.float32)
        inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        boxes, kept = boxes[inside], [self._objects[index][k] for k in np.flatnonzero(inside)]
        masks = None
        if self.has_masks:
            masks = np.zeros((len(kept), height, width), bool)
            for place, item in enumerate(kept):
                try:
                    masks[place] = object_mask(item["segmentation"], height, width)
                except ConfigError:
                    raise
                except Exception as error:  # pycocotools raises whatever it likes
                    raise DataError(
                        f"{self.describe(index)}: the mask of annotation {item.get('id')} is broken: {error}"
                    ) from None
        return Scene(
            image=image,
            boxes=boxes,
            labels=np.array([self._places[item["category_id"]] for item in kept], np.int64),
            masks=masks,
            crowd=np.array([bool(item.get("iscrowd", 0)) for item in kept], bool),
        )

    def count_as(self, names: tuple[str, ...]) -> None:
        """See ``ObjectSource.count_as``."""
        places = {word: place for place, word in enumerate(names)}
        self._places = {
            number: places.get(self.object_names[place], -1)
            for number, place in self._places.items()
        }
        self.object_names = names

    @property
    def used_names(self) -> tuple[str, ...]:
        """See ``ObjectSource.used_names``."""
        used = {item["category_id"] for items in self._objects for item in items}
        return tuple(self.object_names[self._places[number]] for number in sorted(used))


def object_mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Pixels of an object, bool ``(height, width)``, from polygons or from COCO's run lengths."""
    try:
        from pycocotools import mask as coco
    except ImportError:
        raise ConfigError("masks of COCO need pycocotools: pip install 'massrl[detect]'") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy, of what is pycocotools' own
        if isinstance(segmentation, list):
            runs = coco.merge(coco.frPyObjects(segmentation, height, width))
        elif isinstance(segmentation["counts"], list):
            runs = coco.frPyObjects(segmentation, height, width)
        else:
            runs = segmentation
        return np.asarray(coco.decode(runs)).astype(bool)


def _folder(path: Path, name: str, *, flag: str) -> Path:
    near = [path.parent, path.parent.parent]
    ends = path.stem.rpartition("_")[2]
    folders = [*near, *(base / part for base in near for part in ("images", ends))]
    for folder in folders:
        if (folder / name).is_file():
            return folder
    raise DataError(
        f"{name} lies in none of {', '.join(map(str, folders))}: --data.root says where ({flag})"
    )
