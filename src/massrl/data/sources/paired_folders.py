"""Folders of images with a folder beside them that holds an annotation of each, under the same name.

These are recognised, in any case, with ``labels`` or ``masks`` for the annotations::

    DIR/images/train/a.jpg  DIR/labels/train/a.txt    parts within the two folders
    DIR/train/images/a.jpg  DIR/train/labels/a.txt    the two folders within each part
    DIR/images/a.jpg        DIR/labels/a.txt          no parts: validation images are drawn
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from massrl.data.sources.base import OpenOptions
from massrl.data.sources.find_images import (
    IMAGE_FOLDERS,
    find_images,
    role,
    roles,
    subfolder,
    subfolders,
    warn_of_other_images,
)
from massrl.data.splits import seeded_part
from massrl.errors import DataError

_MOST_SEEN = 1000  # files and folders that are looked at to tell what a folder holds
Parts = dict[str, list[Path]]
"""Folders of images, or lists of them, by role; "" for those of a set that is not divided."""


def beside(images: Path, names: Sequence[str], suffixes: tuple[str, ...]) -> Path | None:
    """Return the folder of annotations that belongs to a folder of images.

    Args:
        images: ``DIR/images/train``, say; one of its parts is ``images``, in any case.
        names: the annotations' folder may have.
        suffixes: of annotations, in lower case; a folder without any is none of annotations.
    """
    known = {name.lower() for name in IMAGE_FOLDERS}
    parts = images.absolute().parts
    place = next((at for at in reversed(range(len(parts))) if parts[at].lower() in known), None)
    if place is None:
        return None
    for name in names:
        found = subfolder(Path(*parts[:place]), (name,))
        if found is None or not holds(found, suffixes):
            continue
        for part in parts[place + 1 :]:
            found = _same_part(found, part)
        return found
    return None


def holds(folder: Path, suffixes: tuple[str, ...]) -> bool:
    """Return whether one of the first files in a folder, at any depth, has one of some suffixes."""
    walk = ((names, files) for _, names, files in os.walk(folder))
    items = (item for names, files in walk for item in (*names, *files))
    return any(item.lower().endswith(suffixes) for item in islice(items, _MOST_SEEN))


def image_parts(root: Path, names: Sequence[str], suffixes: tuple[str, ...]) -> Parts:
    """Return the folders of images that have a folder of annotations beside them; empty if there are none."""
    found: Parts = {}
    images = subfolder(root, IMAGE_FOLDERS)
    if images is not None:
        if beside(images, names, suffixes) is None:
            return {}
        for kind, folders in roles(subfolders(images)).items():
            found[kind] = [images / folder for folder in folders]
        return {kind: paths for kind, paths in found.items() if kind} or {"": [images]}
    # Before every file of a large folder is listed.
    if subfolder(root, ("train", "training")) is None:
        return {}
    for kind, folders in roles(subfolders(root)).items():
        inner = [subfolder(root / folder, IMAGE_FOLDERS) for folder in folders if kind]
        paths = [path for path in inner if path and beside(path, names, suffixes)]
        if paths:
            found[kind] = paths
    return found if "train" in found else {}


def images_of(parts: Parts, options: OpenOptions, *, root: Path) -> list[Path]:
    """Return the images of a split, sorted within each folder.

    Args:
        parts: folders of images; only folders, no lists.
        options: the split; test images are taken for validation where there are no others, and parts may
            be drawn of images that are not divided.
        root: the set.

    Raises:
        DataError: if there are no images of that split.
    """
    split, flag = options.split, options.flag
    chosen = folders_of(parts, split, root=root, flag=flag)
    paths: list[Path] = []
    for folder in chosen:
        names, ignored = find_images(folder, flag=flag, held_out=split in ("val", "whole"))
        warn_of_other_images(str(folder), folder, ignored)
        paths += [folder / name for name in names]
    if not paths:
        raise DataError(f"no images in {', '.join(map(str, chosen))} ({flag})")
    if "" not in parts or split == "whole" or not options.draw:
        return list(dict.fromkeys(paths))
    return [paths[index] for index in seeded_part(len(paths), split, name=str(root))]


def folders_of(parts: Parts, split: str, *, root: Path, flag: str) -> list[Path]:
    """Return the folders of a split; see ``images_of``."""
    if split == "whole":
        return [path for paths in parts.values() for path in paths]
    if "" in parts:
        return parts[""]
    found = (parts.get("val") or parts.get("test")) if split == "val" else parts.get("train")
    if not found:
        has = ", ".join(str(path) for paths in parts.values() for path in paths)
        wanted = "validation" if split == "val" else "training"
        raise DataError(
            f"{root} has {has}, but no {wanted} images; accepted: DIR/images/train/a.jpg beside "
            f"DIR/images/val/b.jpg ({flag})"
        )
    return found


def has_validation(parts: Parts) -> bool:
    """Return whether there are validation images, or whether they are drawn."""
    return not {"", "val", "test"}.isdisjoint(parts)


def _same_part(folder: Path, part: str) -> Path:
    """Return the sub-folder of a name, or of the same role; the folder itself if there is none."""
    found = subfolder(folder, (part,))
    if found is None and role(part):
        same = [item for item in subfolders(folder) if role(item) == role(part)]
        found = folder / same[0] if len(same) == 1 else None
    return found or folder
