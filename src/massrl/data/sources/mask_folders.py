"""Class maps as image files: a folder ``masks`` beside ``images``, with a mask for each image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from massrl.data.annotated import ObjectSource, Scene
from massrl.data.frames import as_annotated, find_frames, resize_nearest
from massrl.data.source import Source
from massrl.data.sources.base import OpenOptions, SourceKind, Spec
from massrl.data.sources.folders import FileSource, relative_names
from massrl.data.sources.name_lists import FileNames
from massrl.data.sources.paired_folders import (
    Parts,
    beside,
    has_validation,
    image_parts,
    images_of,
)
from massrl.data.sources.voc_masks import VocMasks
from massrl.errors import DataError
from massrl.images.decode import decode

_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "ground_truth", "gt", "annotation")
_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif")  # masks in JPEG have numbers of no class
_ENDS = ("", "_mask", "-mask", "_masks", "_seg", "_label", "_gt", "_labelIds")
_BEGINNINGS = ("", "mask_", "mask-")
# Without labelmap.txt: white, or the number 1.
_ONE_CLASS = {"background": (0, 0, 0), "object": (255, 255, 255)}


class MaskFoldersKind(SourceKind):
    """Folders with ``images`` and ``masks``."""

    objects_form = (
        "a folder with images and masks (images/train/a.jpg, masks/train/a.png or a_mask.png)"
    )

    def matches(self, spec: Spec) -> bool:
        """See ``SourceKind.matches``."""
        return spec.labelled is None and bool(_parts(spec.path))

    def open(self, spec: Spec, options: OpenOptions) -> Source:
        """See ``SourceKind.open``; masks are no images to train on."""
        root = spec.path
        paths = images_of(_parts(root), options, root=root)
        return FileSource(_name(root, options.split), root, names=relative_names(paths, root))

    def matches_objects(self, spec: Spec) -> bool:
        """See ``SourceKind.matches_objects``."""
        return self.matches(spec)

    def open_objects(self, spec: Spec, options: OpenOptions, *, maps: bool) -> ObjectSource:
        """See ``SourceKind.open_objects``."""
        if not maps:
            raise DataError(
                f"{spec.text} has masks of classes and no boxes: detection needs boxes, as in Pascal VOC's, "
                f"COCO's or YOLO's layout ({options.flag})"
            )
        return MaskFolderSource(spec.path, options)

    def annotated_parts(self, spec: Spec) -> Sequence[tuple[str, bool]]:
        """See ``SourceKind.annotated_parts``."""
        parts = (("train", True), ("val", True))
        return parts if has_validation(_parts(spec.path)) else parts[:1]

    def validation_spec(self, spec: Spec) -> str | None:
        """See ``SourceKind.validation_spec``."""
        return spec.text if has_validation(_parts(spec.path)) else None


class MaskFolderSource(FileSource, ObjectSource):
    """The images of one part of a folder that have masks.

    A mask has the name of its image, perhaps with ``_mask`` behind it or ``mask_`` before it. Its pixels are
    those that ``labelmap.txt`` in the folder names, see ``VocMasks``; without one there is one class, white
    or the number 1.

    Args:
        root: the folder with ``images`` and ``masks``.
        options: the split, and where the user gave the folder.

    Raises:
        DataError: if no image has a mask.
    """

    def __init__(self, root: Path, options: OpenOptions) -> None:
        split, flag = options.split, options.flag
        images = images_of(_parts(root), options, root=root)
        masks = _masks_of(images, flag=flag)
        found = [(image, mask) for image, mask in zip(images, masks, strict=True) if mask]
        if not found:
            raise DataError(
                f"none of {len(images)} images such as {images[0]} has a mask; accepted: images/a.jpg beside "
                f"masks/a.png or masks/a_mask.png ({flag})"
            )
        names = relative_names([image for image, _ in found], root)
        super().__init__(_name(root, split), root, names=names)
        files = {name: mask for name, (_, mask) in zip(names, found, strict=True)}
        self._masks = VocMasks(root, files=files, default=_ONE_CLASS, flag=flag)
        self.has_maps, self.object_names = True, self._masks.names
        sizes = [self._masks.size(name) for name in names]
        self._frames, notes = find_frames([image for image, _ in found], sizes, flag=flag)
        if len(found) < len(images):
            notes.append(
                f"{len(images) - len(found)} of {len(images)} images are left out: without a mask"
            )
        self.notes = tuple(notes)

    def image(self, index: int) -> np.ndarray:
        """See ``ObjectSource.image``."""
        encoded = self.read(index)
        image = decode(encoded, name=self.describe(index))
        return as_annotated(image, encoded, self._frames[index])

    def scene(self, index: int) -> Scene:
        """See ``ObjectSource.scene``; single objects are not known."""
        return Scene(
            image=self.image(index),
            boxes=np.zeros((0, 4), np.float32),
            labels=np.zeros(0, np.int64),
            masks=None,
            crowd=np.zeros(0, bool),
        )

    def set_object_names(self, names: tuple[str, ...]) -> None:
        """See ``ObjectSource.set_object_names``."""
        self.object_names = names
        self._masks.set_names(names)

    @property
    def used_names(self) -> tuple[str, ...]:
        """See ``ObjectSource.used_names``."""
        return self._masks.names

    def label_map(self, index: int) -> np.ndarray:
        """See ``ObjectSource.label_map``."""
        labels, frame = self._masks.read(self.names[index]), self._frames[index]
        scaled = frame is not None and frame.is_scaled
        return resize_nearest(labels, frame.size) if scaled and frame else labels


def _parts(root: Path) -> Parts:
    return image_parts(root, _FOLDERS, _SUFFIXES)


def _name(root: Path, split: str) -> str:
    return f"{root.resolve().name}/{split}"


def _masks_of(images: list[Path], *, flag: str) -> list[Path | None]:
    """Return the mask of each image, None without one."""
    folders: dict[Path, tuple[list[Path], FileNames]] = {}
    found: list[Path | None] = []
    for path in images:
        if path.parent not in folders:
            folder = beside(path.parent, _FOLDERS, _SUFFIXES)
            files = sorted(folder.iterdir()) if folder else []
            files = [file for file in files if file.suffix.lower() in _SUFFIXES]
            folders[path.parent] = files, FileNames([file.name for file in files])
        files, names = folders[path.parent]
        stems = [f"{begin}{path.stem}{end}" for end in _ENDS for begin in _BEGINNINGS]
        indices = next(
            filter(None, (names.find(f"{stem}.png") or names.find(stem) for stem in stems)), []
        )
        if len(indices) > 1:
            several = " and ".join(files[index].name for index in indices)
            raise DataError(f"{path} has the masks {several}: one is wanted ({flag})")
        found.append(files[indices[0]] if indices else None)
    return found
