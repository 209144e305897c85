"""Objects in the layout of Pascal VOC: ``Annotations``, ``ImageSets``, ``JPEGImages``, masks as PNG files."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from massrl.data.annotated import ObjectSource, Scene
from massrl.data.sources.folders import FileSource
from massrl.data.sources.voc_masks import VOC_CLASSES, VocMasks
from massrl.errors import DataError, suggest
from massrl.images.decode import decode

_LISTS = {"train": ("train", "trainval"), "val": ("val", "test")}


def is_voc(path: Path) -> bool:
    """Whether a folder is laid out as Pascal VOC."""
    return (path / "ImageSets").is_dir() and (path / "JPEGImages").is_dir()


def listed(root: Path, part: str) -> list[str]:
    """Names of the images in a list of ``ImageSets/Main``, without suffix; none where it is not there."""
    file = root / "ImageSets" / "Main" / f"{part}.txt"
    return _names_in(file) if file.is_file() else []


class VocSource(FileSource, ObjectSource):
    """A part of a folder in Pascal VOC's layout.

    Args:
        root: the folder with ``JPEGImages``.
        part: name of a list in ``ImageSets/Main`` (``ImageSets/Segmentation`` for ``maps``); ``train``
            and ``val`` take ``trainval`` and ``test`` where they are missing.
        maps: take the images that have masks, rather than those that have boxes.
        flag: where the user said so, for errors.

    Raises:
        DataError: if a list or an annotation is missing or broken.
    """

    def __init__(self, root: Path, part: str = "train", *, maps: bool = False, flag: str) -> None:
        self._flag = flag
        kind = "Segmentation" if maps else "Main"
        names = _listed(root / "ImageSets" / kind, part, flag=flag)
        images = {path.stem: path.name for path in (root / "JPEGImages").iterdir()}
        missing = [name for name in names if name not in images]
        if missing:
            raise DataError(
                f"{root / 'JPEGImages'} lacks {missing[0]} and {len(missing) - 1} more ({flag})"
            )
        super().__init__(
            f"{root.name}/{part}", root / "JPEGImages", names=[images[name] for name in names]
        )
        self._root = root
        self.has_maps = maps
        self._masks = VocMasks(root, flag=flag) if maps else None
        self._objects = [] if maps else [self._read_objects(name) for name in names]
        self.object_names = self._masks.names if self._masks is not None else self._classes()

    def scene(self, index: int) -> Scene:
        """See ``ObjectSource.scene``."""
        name = self.describe(index)
        image = decode(self.read(index), name=name)
        height, width = image.shape[:2]
        boxes, labels, difficult = [], [], []
        for word, box, hard in self._objects[index]:
            left, top, right, bottom = np.clip(box, 0, [width, height] * 2)
            if right > left and bottom > top:
                boxes.append((left, top, right, bottom))
                labels.append(self.object_names.index(word))
                difficult.append(hard)
        return Scene(
            image=image,
            boxes=np.array(boxes, np.float32).reshape(-1, 4),
            labels=np.array(labels, np.int64),
            masks=None,
            crowd=np.zeros(len(boxes), bool),
            difficult=np.array(difficult, bool),
        )

    def count_as(self, names: tuple[str, ...]) -> None:
        """See ``ObjectSource.count_as``."""
        self.object_names = names
        if self._masks is not None:
            self._masks.count_as(names)

    @property
    def used_names(self) -> tuple[str, ...]:
        """See ``ObjectSource.used_names``."""
        if self._masks is not None:
            return self._masks.names
        return tuple(sorted({word for objects in self._objects for word, _, _ in objects}))

    def image_labels(self) -> np.ndarray:
        """Which classes each image has, int64 ``(n, num_classes)``; -1 where all such are difficult."""
        truth = np.zeros((len(self), len(self.object_names)), np.int64)
        for row, objects in zip(truth, self._objects, strict=True):
            for word, _, hard in objects:
                place = self.object_names.index(word)
                row[place] = 1 if not hard or row[place] == 1 else -1
        return truth

    def label_map(self, index: int) -> np.ndarray:
        """The image's mask; see ``VocMasks``."""
        assert self._masks is not None
        return self._masks.read(Path(self.names[index]).stem)

    def _classes(self) -> tuple[str, ...]:
        found = {word for objects in self._objects for word, _, _ in objects}
        if not found:
            raise DataError(f"{self.name} has no objects in its annotations ({self._flag})")
        return VOC_CLASSES if found <= set(VOC_CLASSES) else tuple(sorted(found))

    def _read_objects(self, name: str) -> list[tuple[str, tuple[float, ...], bool]]:
        """Class, box and difficulty of each object; VOC counts pixels from 1, both ends included."""
        path = self._root / "Annotations" / f"{name}.xml"
        try:
            found: list[tuple[str, tuple[float, ...], bool]] = []
            for item in ElementTree.parse(path).getroot().iter("object"):
                box = item.find("bndbox")
                assert box is not None
                left, top, right, bottom = (
                    float(box.findtext(key, "")) for key in ("xmin", "ymin", "xmax", "ymax")
                )
                hard = item.findtext("difficult", "0").strip() == "1"
                word = item.findtext("name", "").strip()
                found.append((word, (left - 1, top - 1, right, bottom), hard))
            return found
        except (OSError, ElementTree.ParseError, ValueError, AssertionError) as error:
            reason = str(error) or "an object without a box"
            raise DataError(f"{path} is no annotation of Pascal VOC: {reason}") from None


def _listed(folder: Path, part: str, *, flag: str) -> list[str]:
    known = sorted(path.stem for path in folder.glob("*.txt"))
    choices = _LISTS.get(part, (part,))
    if part == "val" and "train" not in known and "trainval" in known:
        choices = ("test",)  # val is among what is learnt from
    for name in choices:
        if name in known:
            names = _names_in(folder / f"{name}.txt")
            if names:
                return names
    raise DataError(f"{folder} has no list {part!r}: {suggest(part, known)} ({flag})")


def _names_in(file: Path) -> list[str]:
    """The first word of each line."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [line.split()[0] for line in lines if line.strip()]
