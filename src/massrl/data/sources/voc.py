"""Objects in the layout of Pascal VOC: ``Annotations``, ``ImageSets``, ``JPEGImages``, masks as PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from massrl.data.annotated import ObjectSource, Scene
from massrl.data.source import Source, Subset
from massrl.data.sources.base import OpenOptions, SourceKind, Spec
from massrl.data.sources.folders import FileSource, open_path
from massrl.data.sources.torchvision_load import voc_folder
from massrl.data.sources.voc_masks import VOC_CLASSES, VocMasks
from massrl.errors import DataError, suggest
from massrl.images.decode import decode

# Lists as torchvision and VOC's kit call them; the test annotations of 2012 are secret.
VOC_LISTS = {
    "voc2007": {"train": "trainval", "val": "test"},
    "voc2012": {"train": "train", "val": "val"},
}
_ALTERNATIVES = {"train": ("train", "trainval"), "val": ("val", "test")}
_EVALUATION_LISTS = ("val", "test")


class _Object(NamedTuple):
    class_name: str
    box: tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels, from 0, ends excluded
    difficult: bool


class VocKind(SourceKind):
    """Folders in Pascal VOC's layout, also with a list as ``VOC2007:trainval``, and voc2007 and voc2012."""

    names = tuple(VOC_LISTS)
    objects_form = (
        "a folder in Pascal VOC's layout (JPEGImages, Annotations, ImageSets), "
        f"{' or '.join(VOC_LISTS)}"
    )

    def matches(self, spec: Spec) -> bool:
        """See ``SourceKind.matches``."""
        return spec.labelled is None and (self.is_name(spec) or _folder_and_list(spec) is not None)

    def matches_objects(self, spec: Spec) -> bool:
        """See ``SourceKind.matches_objects``."""
        return self.matches(spec)

    def open(self, spec: Spec, options: OpenOptions) -> Source:
        """Open a list's images; of a folder, all but those of its lists ``val`` and ``test``."""
        folder, part = _find(spec, options, split="train")
        source = open_path(folder / "JPEGImages", split="whole", labelled=False, flag=options.flag)
        stems = [Path(name).stem for name in source.names]
        if not self.is_name(spec) and is_voc(spec.path):
            held_out = {name for item in _EVALUATION_LISTS for name in listed(folder, item)}
            selected = [index for index, stem in enumerate(stems) if stem not in held_out]
        else:
            wanted = set(listed(folder, part))
            selected = [index for index, stem in enumerate(stems) if stem in wanted]
        if not selected:
            raise DataError(
                f"{spec.text} has no image in its list {part!r}, or outside val and test "
                f"({options.flag})"
            )
        return source if len(selected) == len(stems) else Subset(source, selected)

    def open_objects(self, spec: Spec, options: OpenOptions, *, maps: bool) -> ObjectSource:
        """See ``SourceKind.open_objects``."""
        folder, part = _find(spec, options, split=options.split)
        return VocSource(folder, part, maps=maps, flag=options.flag)

    def validation_spec(self, spec: Spec) -> str:
        """See ``SourceKind.validation_spec``."""
        return spec.name if self.is_name(spec) else spec.text

    def multilabel_specs(self, spec: Spec, options: OpenOptions) -> tuple[str, str]:
        """See ``SourceKind.multilabel_specs``."""
        folder, part = _find(spec, options, split="train")
        test = "test" if listed(folder, "test") else "val"
        return f"{folder}:{part}", f"{folder}:{test}"


def is_voc(path: Path) -> bool:
    """Return whether a folder is laid out as Pascal VOC."""
    return (path / "ImageSets").is_dir() and (path / "JPEGImages").is_dir()


def listed(root: Path, part: str) -> list[str]:
    """Return the names, without suffix, in a list of ``ImageSets/Main``; empty if there is no such list."""
    file = root / "ImageSets" / "Main" / f"{part}.txt"
    return _names_in(file) if file.is_file() else []


class VocSource(FileSource, ObjectSource):
    """The images of one list of a folder in Pascal VOC's layout.

    Args:
        root: the folder with ``JPEGImages``.
        part: name of a list in ``ImageSets/Main`` (``ImageSets/Segmentation`` for ``maps``); ``train``
            and ``val`` take ``trainval`` and ``test`` where they are missing.
        maps: take the images that have masks, rather than those that have boxes.
        flag: where the user gave the spec, for errors.

    Raises:
        DataError: if a list or an annotation is missing or broken.
    """

    def __init__(self, root: Path, part: str = "train", *, maps: bool = False, flag: str) -> None:
        self._flag = flag
        folder = root / "ImageSets" / ("Segmentation" if maps else "Main")
        names = _read_list(folder, part, flag=flag)
        images = {path.stem: path.name for path in (root / "JPEGImages").iterdir()}
        missing = [name for name in names if name not in images]
        if missing:
            raise DataError(
                f"{root / 'JPEGImages'} lacks {missing[0]} and {len(missing) - 1} more ({flag})"
            )
        super().__init__(
            f"{root.name}/{part}", root / "JPEGImages", names=[images[name] for name in names]
        )
        self.has_maps = maps
        self._masks = VocMasks(root, flag=flag) if maps else None
        annotations = [] if maps else [root / "Annotations" / f"{name}.xml" for name in names]
        self._objects = [_read_objects(path) for path in annotations]
        self.object_names = self._masks.names if self._masks is not None else self._find_classes()

    def scene(self, index: int) -> Scene:
        """See ``ObjectSource.scene``; boxes are clipped to the image, and empty ones left out."""
        image = decode(self.read(index), name=self.describe(index))
        height, width = image.shape[:2]
        boxes, labels, difficult = [], [], []
        for item in self._objects[index]:
            left, top, right, bottom = np.clip(item.box, 0, [width, height] * 2)
            if right > left and bottom > top:
                boxes.append((left, top, right, bottom))
                labels.append(self.object_names.index(item.class_name))
                difficult.append(item.difficult)
        return Scene(
            image=image,
            boxes=np.array(boxes, np.float32).reshape(-1, 4),
            labels=np.array(labels, np.int64),
            masks=None,
            crowd=np.zeros(len(boxes), bool),
            difficult=np.array(difficult, bool),
        )

    def set_object_names(self, names: tuple[str, ...]) -> None:
        """See ``ObjectSource.set_object_names``."""
        self.object_names = names
        if self._masks is not None:
            self._masks.set_names(names)

    @property
    def used_names(self) -> tuple[str, ...]:
        """See ``ObjectSource.used_names``."""
        if self._masks is not None:
            return self._masks.names
        return tuple(sorted({item.class_name for items in self._objects for item in items}))

    def image_labels(self) -> np.ndarray:
        """See ``ObjectSource.image_labels``; no image is decoded."""
        labels = np.zeros((len(self), len(self.object_names)), np.int64)
        for row, items in zip(labels, self._objects, strict=True):
            for item in items:
                column = self.object_names.index(item.class_name)
                row[column] = 1 if not item.difficult or row[column] == 1 else -1
        return labels

    def label_map(self, index: int) -> np.ndarray:
        """See ``ObjectSource.label_map``; read from the image's mask, see ``VocMasks``."""
        assert self._masks is not None
        return self._masks.read(Path(self.names[index]).stem)

    def _find_classes(self) -> tuple[str, ...]:
        """VOC's own classes in their published order, else all that the annotations name, sorted."""
        found = {item.class_name for items in self._objects for item in items}
        if not found:
            raise DataError(f"{self.name} has no objects in its annotations ({self._flag})")
        return VOC_CLASSES if found <= set(VOC_CLASSES) else tuple(sorted(found))


def _find(spec: Spec, options: OpenOptions, *, split: str) -> tuple[Path, str]:
    """Folder and list of a spec; a set that has a name is downloaded first."""
    if not spec.is_path and spec.name in VOC_LISTS:
        lists = VOC_LISTS[spec.name]
        folder = voc_folder(
            spec.name, tuple(lists.values()), root=options.root, download=options.download
        )
        return folder, spec.part or lists[split]
    found = _folder_and_list(spec)
    assert found is not None  # or the spec would be another kind's
    folder, part = found
    return folder, part or split


def _folder_and_list(spec: Spec) -> tuple[Path, str] | None:
    """Folder in VOC's layout, and the list named behind it; None of any other spec."""
    if is_voc(spec.path):
        return spec.path, ""
    folder, _, part = spec.text.rpartition(":")
    if folder and not spec.is_path and is_voc(Path(folder).expanduser()):
        return Path(folder).expanduser(), part
    return None


def _read_objects(path: Path) -> list[_Object]:
    """Read one annotation; VOC counts pixels from 1, both ends included."""
    try:
        found = []
        for item in ElementTree.parse(path).getroot().iter("object"):
            box = item.find("bndbox")
            if box is None:
                raise ValueError("an object without a box")
            left, top, right, bottom = (
                float(box.findtext(key, "")) for key in ("xmin", "ymin", "xmax", "ymax")
            )
            found.append(
                _Object(
                    item.findtext("name", "").strip(),
                    (left - 1, top - 1, right, bottom),
                    item.findtext("difficult", "0").strip() == "1",
                )
            )
        return found
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{path} is no annotation of Pascal VOC: {error}") from None


def _read_list(folder: Path, part: str, *, flag: str) -> list[str]:
    known = sorted(path.stem for path in folder.glob("*.txt"))
    choices = _ALTERNATIVES.get(part, (part,))
    if part == "val" and "train" not in known and "trainval" in known:
        choices = ("test",)  # val is a part of trainval, on which is trained
    for name in choices:
        if name in known:
            names = _names_in(folder / f"{name}.txt")
            if names:
                return names
    raise DataError(f"{folder} has no list {part!r}: {suggest(part, known)} ({flag})")


def _names_in(file: Path) -> list[str]:
    """Read the first word of each line."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [line.split()[0] for line in lines if line.strip()]
