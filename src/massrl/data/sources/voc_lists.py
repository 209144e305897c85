"""Folders in Pascal VOC's layout: where images and annotations are, and which images belong to which part."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from massrl.data.sources.find_images import (
    IMAGE_FOLDERS,
    find_images,
    subfolder,
    warn_of_other_images,
)
from massrl.data.sources.name_lists import NamedFiles, read_lines
from massrl.data.splits import seeded_part
from massrl.errors import DataError, suggest

_ALTERNATIVES = {"train": ("train", "trainval"), "val": ("val", "test")}
_EVALUATION_LISTS = ("val", "test")
_LISTS = ("train", "val", "trainval", "test")
_MOST_SEEN = 100  # files that are looked at to tell what a folder holds


@dataclass(frozen=True, kw_only=True)
class VocLayout:
    """The folders of a data set in Pascal VOC's layout.

    Attributes:
        root: the folder.
        images: its ``JPEGImages``, or ``images``.
        annotations: its ``Annotations``, which sets with masks only may lack.
        masks: its ``SegmentationClass``, which sets with boxes only may lack.
    """

    root: Path
    images: Path
    annotations: Path
    masks: Path

    def lists(self, kind: str) -> dict[str, Path]:
        """Return the lists of ``ImageSets/Main`` or ``ImageSets/Segmentation`` by their names."""
        sets = subfolder(self.root, ("ImageSets",))
        folder = None if sets is None else subfolder(sets, (kind,))
        return {} if folder is None else {path.stem: path for path in sorted(folder.glob("*.txt"))}

    @property
    def has_parts(self) -> bool:
        """Whether there are lists of training, validation or test images."""
        return not set(_LISTS).isdisjoint(self.lists("Main"))

    @property
    def annotated_parts(self) -> list[tuple[str, bool]]:
        """The parts that have annotations, of boxes and of masks: name, and whether of masks."""
        found = []
        for maps, folder in ((False, self.annotations), (True, self.masks)):
            own = self.lists("Segmentation" if maps else "Main")
            lists = own or self.lists("Main")
            drawn = set(_LISTS).isdisjoint(lists)
            for split, names in _ALTERNATIVES.items():
                if (own or folder.is_dir()) and (drawn or not lists.keys().isdisjoint(names)):
                    found.append((split, maps))
        return found

    @property
    def has_validation(self) -> bool:
        """Whether validation images are listed, or drawn for want of any lists."""
        return not self.has_parts or not set(_EVALUATION_LISTS).isdisjoint(self.lists("Main"))

    def part(self, names: Sequence[str], split: str, *, flag: str) -> list[int]:
        """Return the positions of the images for training, or for evaluation; all if none is held out.

        Those for evaluation are in the lists ``val`` and ``test``; all others are for training. Without any
        lists they are drawn.

        Args:
            names: of all images.
            split: ``"val"`` for evaluation, any other for training.
            flag: where the user gave the folder, for errors.
        """
        if not self.has_parts:
            return [int(i) for i in seeded_part(len(names), split, name=str(self.root))]
        lists = [self.listed(names, item, flag=flag) for item in _EVALUATION_LISTS]
        held_out = {index for indices in lists for index in indices}
        wanted = split == "val" and bool(held_out)
        return [index for index in range(len(names)) if (index in held_out) == wanted]

    def listed(self, names: Sequence[str], part: str, *, flag: str) -> list[int]:
        """Return the positions of the images in a list of ``ImageSets/Main``; none if there is no list."""
        file = self.lists("Main").get(part)
        found = set(self._in_list(file, flag=flag, missing=True)) if file else set()
        return [index for index, name in enumerate(names) if name in found]

    def annotated(self, part: str, *, maps: bool, flag: str, draw: bool = True) -> list[str]:
        """Return the images of a part that have boxes, or masks.

        Args:
            part: name of a list in ``ImageSets/Main``, or in ``ImageSets/Segmentation`` for ``maps`` where
                that folder is there; ``train`` and ``val`` take ``trainval`` and ``test`` where they are
                missing, and are drawn where there are no lists at all.
            maps: whether images with masks are wanted.
            flag: where the user gave the folder, for errors.
            draw: whether parts are drawn, rather than all images taken.

        Raises:
            DataError: if there is no such list, or no image in it.
        """
        lists = (maps and self.lists("Segmentation")) or self.lists("Main")
        if part in _ALTERNATIVES and set(_LISTS).isdisjoint(lists):
            names, ignored = find_images(self.images, flag=flag)
            warn_of_other_images(self.root.name, self.images, ignored)
            found = list(names)
            if draw:
                drawn = seeded_part(len(names), part, name=str(self.root))
                found = [names[index] for index in drawn]
        else:
            found = self._in_list(_choose(lists, part, root=self.root, flag=flag), flag=flag)
            if not maps or self.lists("Segmentation"):
                return found
        folder, suffix = (self.masks, ".png") if maps else (self.annotations, ".xml")
        files = NamedFiles(folder, flag=flag, shorten=True)
        found = [name for name in found if files.find(f"{_stem(name)}{suffix}") is not None]
        if not found:
            raise DataError(
                f"{self.root} has no image for {part!r} with a file in {folder.name}; accepted: "
                f"{self.images.name}/a.jpg with {folder.name}/a{suffix} ({flag})"
            )
        return found

    def files_of(self, names: Sequence[str], *, maps: bool, flag: str) -> list[Path]:
        """Return the XML file, or the mask, of each image; it may be missing."""
        folder, suffix = (self.masks, ".png") if maps else (self.annotations, ".xml")
        files = NamedFiles(folder, flag=flag, shorten=True)
        stems = [f"{_stem(name)}{suffix}" for name in names]
        return [folder / (found[0] if (found := files.find(stem)) else stem) for stem in stems]

    def _in_list(self, file: Path, *, flag: str, missing: bool = False) -> list[str]:
        """Read the images that a list names; those that are not there are refused, or left out."""
        try:
            lines = list(dict.fromkeys(line.strip() for _, line in read_lines(file)))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file} cannot be read: {error} ({flag})") from None
        files = NamedFiles(self.images, flag=flag, shorten=True)
        if missing:
            return [found[0] for line in lines if (found := files.find(line)) is not None]
        return list(dict.fromkeys(files.find_all(lines, what=str(file))))


def voc_layout(root: Path) -> VocLayout | None:
    """Return the folders of a data set in Pascal VOC's layout; None of any other folder."""
    annotations = subfolder(root, ("Annotations", "annots", "xmls"))
    masks = subfolder(root, ("SegmentationClass",))
    images = subfolder(root, ("JPEGImages",))
    if images is not None:
        is_voc = bool(annotations or masks or subfolder(root, ("ImageSets",)))
    else:
        images = subfolder(root, IMAGE_FOLDERS)
        is_voc = images is not None and annotations is not None and holds(annotations, ".xml")
    if images is None or not is_voc:
        return None
    return VocLayout(
        root=root,
        images=images,
        annotations=annotations or root / "Annotations",
        masks=masks or root / "SegmentationClass",
    )


def holds(folder: Path, suffix: str) -> bool:
    """Return whether one of the first files of a folder has a suffix."""
    with os.scandir(folder) as entries:
        return any(entry.name.lower().endswith(suffix) for entry in islice(entries, _MOST_SEEN))


def _choose(lists: dict[str, Path], part: str, *, root: Path, flag: str) -> Path:
    """Return the file of a list, or of what stands for it."""
    choices = _ALTERNATIVES.get(part, (part,))
    if part == "val" and "train" not in lists and "trainval" in lists:
        choices = ("test",)  # val is a part of trainval, on which is trained
    for name in choices:
        if name in lists and lists[name].read_bytes().strip():
            return lists[name]
    raise DataError(f"{root} has no list {part!r}: {suggest(part, lists)} ({flag})")


def _stem(name: str) -> str:
    return name.rpartition(".")[0]
