"""Objects in the layout of Pascal VOC: ``Annotations``, ``ImageSets``, ``JPEGImages``, masks as PNG files."""

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
    resize_nearest,
    unusable_reason,
)
from massrl.data.source import Source, Subset
from massrl.data.sources.base import OpenOptions, SourceKind, Spec
from massrl.data.sources.folders import FileSource, open_path
from massrl.data.sources.torchvision_load import voc_folder
from massrl.data.sources.voc_annotations import object_boxes, read_annotation
from massrl.data.sources.voc_lists import VocLayout, voc_layout
from massrl.data.sources.voc_masks import VOC_CLASSES, VocMasks
from massrl.errors import DataError
from massrl.images.decode import decode

# Lists as torchvision and VOC's kit call them; the test annotations of 2012 are secret.
VOC_LISTS = {
    "voc2007": {"train": "trainval", "val": "test"},
    "voc2012": {"train": "train", "val": "val"},
}
_ANY_SIZE = Frame((1 << 24, 1 << 24))  # of images whose header cannot be read


class VocKind(SourceKind):
    """Folders in Pascal VOC's layout, also with a list as ``VOC2007:trainval``, and voc2007 and voc2012."""

    names = tuple(VOC_LISTS)
    objects_form = (
        "a folder in Pascal VOC's layout (JPEGImages/a.jpg, Annotations/a.xml, ImageSets/Main/train.txt), "
        f"{' or '.join(VOC_LISTS)}"
    )

    def matches(self, spec: Spec) -> bool:
        """See ``SourceKind.matches``."""
        return spec.labelled is None and (self.is_name(spec) or _layout_and_list(spec) is not None)

    def matches_objects(self, spec: Spec) -> bool:
        """See ``SourceKind.matches_objects``."""
        return self.matches(spec)

    def open(self, spec: Spec, options: OpenOptions) -> Source:
        """Open a list's images; of a folder, those that detectors are evaluated on, or all others."""
        split = "val" if options.split == "val" else "train"
        layout, part = _find(spec, options, split=split)
        source = open_path(layout.images, split="whole", labelled=False, flag=options.flag)
        is_folder = not self.is_name(spec) and is_voc(spec.path)
        drawn = not layout.has_parts and part in ("train", "val")
        if options.split == "whole" or (is_folder and drawn and not options.draw):
            return source
        if is_folder or drawn:
            selected = layout.part(source.names, part, flag=options.flag)
        else:
            selected = layout.listed(source.names, part, flag=options.flag)
        if not selected:
            raise DataError(
                f"{spec.text} has no image in its list {part!r}, or outside val and test "
                f"({options.flag})"
            )
        return source if len(selected) == len(source) else Subset(source, selected)

    def open_objects(self, spec: Spec, options: OpenOptions, *, maps: bool) -> ObjectSource:
        """See ``SourceKind.open_objects``."""
        layout, part = _find(spec, options, split=options.split)
        draw = options.draw or not is_voc(spec.path)  # a list that is named is drawn
        return VocSource(layout.root, part, maps=maps, draw=draw, flag=options.flag)

    def annotated_parts(self, spec: Spec) -> Sequence[tuple[str, bool]]:
        """See ``SourceKind.annotated_parts``: those that lists name, of boxes and of masks."""
        found = _layout_and_list(spec)
        return [] if found is None else found[0].annotated_parts

    def validation_spec(self, spec: Spec) -> str | None:
        """See ``SourceKind.validation_spec``."""
        found = None if self.is_name(spec) else _layout_and_list(spec)
        if found is None:
            return spec.name
        return spec.text if found[0].has_validation else None

    def multilabel_specs(self, spec: Spec, options: OpenOptions) -> tuple[str, str]:
        """See ``SourceKind.multilabel_specs``."""
        layout, part = _find(spec, options, split="train")
        test = "test" if "test" in layout.lists("Main") else "val"
        return f"{layout.root}:{part}", f"{layout.root}:{test}"


def is_voc(path: Path) -> bool:
    """Return whether a folder is laid out as Pascal VOC."""
    return voc_layout(path) is not None


class VocSource(FileSource, ObjectSource):
    """The images of one list of a folder in Pascal VOC's layout.

    Args:
        root: the folder with ``JPEGImages``.
        part: name of a list in ``ImageSets/Main`` (``ImageSets/Segmentation`` for ``maps``); ``train``
            and ``val`` take ``trainval`` and ``test`` where they are missing, and are drawn where there are
            no lists.
        maps: take the images that have masks, rather than those that have boxes.
        draw: whether parts are drawn where there are no lists, rather than all images taken.
        flag: where the user gave the spec, for errors.

    Raises:
        DataError: if a list or an annotation is missing or broken.
    """

    def __init__(
        self,
        root: Path,
        part: str = "train",
        *,
        maps: bool = False,
        draw: bool = True,
        flag: str,
    ) -> None:
        self._flag = flag
        layout = voc_layout(root)
        if layout is None:
            raise DataError(f"{root} is not in Pascal VOC's layout ({flag})")
        names = layout.annotated(part, maps=maps, draw=draw, flag=flag)
        super().__init__(f"{root.name}/{part}", layout.images, names=names)
        self.has_maps = maps
        files = layout.files_of(names, maps=maps, flag=flag)
        masks = dict(zip(names, files, strict=True))
        self._masks = VocMasks(root, files=masks, flag=flag) if maps else None
        read = [] if maps else [read_annotation(path) for path in files]
        self._objects = [objects for _, objects in read]
        sizes = (
            [size for size, _ in read]
            if self._masks is None
            else [self._masks.size(name) for name in names]
        )
        paths = [self.path(index) for index in range(len(self))]
        self._frames, notes = find_frames(paths, sizes, flag=flag)
        self.notes = (*notes, *self._left_out())
        self.object_names = self._masks.names if self._masks is not None else self._find_classes()

    def image(self, index: int) -> np.ndarray:
        """See ``ObjectSource.image``."""
        encoded = self.read(index)
        image = decode(encoded, name=self.describe(index))
        return as_annotated(image, encoded, self._frames[index])

    def scene(self, index: int) -> Scene:
        """See ``ObjectSource.scene``; boxes are clipped to the image, and empty ones left out."""
        image, items = self.image(index), self._objects[index]
        frame = self._frames[index] or Frame(image.shape[:2])
        boxes, usable = clip_boxes(object_boxes(items, frame), frame.size)
        labels = [self.object_names.index(item.class_name) for item in items]
        return Scene(
            image=image,
            boxes=boxes[usable],
            labels=np.array(labels, np.int64)[usable],
            masks=None,
            crowd=np.zeros(int(usable.sum()), bool),
            difficult=np.array([item.difficult for item in items], bool)[usable],
        )

    def object_counts(self) -> np.ndarray | None:
        """See ``ObjectSource.object_counts``."""
        if self._masks is not None:
            return None
        counts = np.zeros(len(self), np.int64)
        for index, (items, frame) in enumerate(zip(self._objects, self._frames, strict=True)):
            used = [item for item in items if not item.difficult]
            frame = frame or _ANY_SIZE
            counts[index] = clip_boxes(object_boxes(used, frame), frame.size)[1].sum()
        return counts

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
        labels, frame = self._masks.read(self.names[index]), self._frames[index]
        return (
            labels if frame is None or not frame.is_scaled else resize_nearest(labels, frame.size)
        )

    def _left_out(self) -> list[str]:
        """Return a sentence on the objects whose boxes cannot be used, if there are any."""
        reasons: Counter[str] = Counter()
        for items, frame in zip(self._objects, self._frames, strict=False):
            boxes = object_boxes(items, frame or _ANY_SIZE)
            _, usable = clip_boxes(boxes, (frame or _ANY_SIZE).size)
            reasons.update(unusable_reason(box) for box in boxes[~usable])
        return describe_left_out(reasons, total=sum(map(len, self._objects)))

    def _find_classes(self) -> tuple[str, ...]:
        """VOC's own classes in their published order, else all that the annotations name, sorted."""
        found = {item.class_name for items in self._objects for item in items}
        if not found:
            raise DataError(f"{self.name} has no objects in its annotations ({self._flag})")
        return VOC_CLASSES if found <= set(VOC_CLASSES) else tuple(sorted(found))


def _find(spec: Spec, options: OpenOptions, *, split: str) -> tuple[VocLayout, str]:
    """Layout and list of a spec; a set that has a name is downloaded first."""
    if not spec.is_path and spec.name in VOC_LISTS:
        lists = VOC_LISTS[spec.name]
        folder = voc_folder(
            spec.name, tuple(lists.values()), root=options.root, download=options.download
        )
        layout = voc_layout(folder)
        if layout is None:
            raise DataError(f"{folder} is not in Pascal VOC's layout ({options.flag})")
        return layout, spec.part or lists[split]
    found = _layout_and_list(spec)
    assert found is not None  # or the spec would be another kind's
    layout, part = found
    return layout, part or split


def _layout_and_list(spec: Spec) -> tuple[VocLayout, str] | None:
    """Folder in VOC's layout, and the list named behind it; None of any other spec."""
    layout = voc_layout(spec.path)
    if layout is not None:
        return layout, ""
    folder, _, part = spec.text.rpartition(":")
    layout = voc_layout(Path(folder).expanduser()) if folder and not spec.is_path else None
    return None if layout is None else (layout, part)
