"""Find image files in folders, and the parts (train, val, test) of a divided folder."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from massrl.errors import DataError

logger = logging.getLogger("massrl")

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
# Images that cameras and other programs write and that are not read.
_OTHER_IMAGES = frozenset(
    (
        *(".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".j2k", ".jpf", ".jpx", ".jfif"),
        *(".raw", ".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".orf"),
        *(".rw2", ".raf", ".pef", ".srw", ".x3f", ".3fr", ".psd", ".xcf", ".svg", ".eps", ".ai"),
        *(".tga", ".ico", ".ppm", ".pgm", ".pbm", ".pnm", ".exr", ".hdr", ".dds", ".pcx", ".apng"),
        *(".dcm", ".nii", ".svs", ".ndpi", ".czi", ".lif", ".vsi", ".fits", ".jps", ".mpo"),
    )
).difference(SUFFIXES)
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"II*\0", b"MM\0*")
_MOST_OPENED = 1000  # files without a suffix whose first bytes are read
_SKIPPED = frozenset(("__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini"))  # and hidden files
IMAGE_FOLDERS = ("images", "image", "imgs", "img", "JPEGImages")
# Folders beside a part that are no classes, in lower case.
_NO_CLASSES = frozenset(
    (
        *(name.lower() for name in IMAGE_FOLDERS),
        *("labels", "label", "masks", "mask", "annotations", "annotation", "gt", "ground_truth"),
        *("imagesets", "segmentationclass", "segmentationobject", "meta", "docs", "devkit"),
    )
)
_PART = re.compile(
    r"(?:(?:images?|imgs?|data|seg)[-_ ]?)?"
    r"(train(?:ing)?|trn|val(?:id(?:ation)?)?|dev|test(?:ing)?|tst|hold[-_ ]?out|unlabell?ed)"
    r"(?:[-_ ]?[ab])?(?:[-_ ]?(?:images?|imgs?|set|data|split))?(?:[-_ ]?\d{4})?"
)
_ROLES = {
    **{"tr": "train", "va": "val", "de": "val", "un": "unlabelled"},
    **{"te": "test", "ts": "test", "ho": "test"},
}
_SHOWN = {"train": "train/", "val": "val/, validation/, valid/, test/"}


def role(folder: str) -> str:
    """Return what a sub-folder is for by its name: ``train``, ``val``, ``test`` or ``unlabelled``; else "".

    Example:
        >>> [role(name) for name in ("Training", "valid", "test2017", "train_images", "trains")]
        ['train', 'val', 'test', 'train', '']
    """
    match = _PART.fullmatch(folder.lower())
    return _ROLES[match[1][:2]] if match else ""


def roles(folders: Iterable[str]) -> dict[str, list[str]]:
    """Return the parts that sub-folders divide a folder into; empty if they do not.

    They do where some are training and some validation or test images, and where no other folder can be a
    class; beside such ones, ``train`` alone, or ``test`` alone, is the name of a class.
    """
    found: dict[str, list[str]] = {}
    for item in sorted(folders):
        found.setdefault(role(item), []).append(item)
    held_out = "val" in found or "test" in found
    classes = [item for item in found.get("", ()) if item.lower() not in _NO_CLASSES]
    if ("train" in found and held_out) or (not classes and ("train" in found or held_out)):
        return found
    return {}


def subfolder(directory: Path, names: Sequence[str]) -> Path | None:
    """Return the first of some sub-folders that exists, in lower or upper case or capitalised."""
    for name in names:
        for spelling in dict.fromkeys((name, name.lower(), name.capitalize(), name.upper())):
            if (directory / spelling).is_dir():
                return directory / spelling
    return None


def divided(directory: Path, *, flag: str) -> tuple[Path, dict[str, list[str]]]:
    """Return the folder that parts divide, a folder or the folder ``images/`` in it, and its parts.

    Raises:
        DataError: if the folder cannot be read.
    """
    parts = roles(subfolders(directory, flag=flag))
    inner = None if "train" in parts else subfolder(directory, IMAGE_FOLDERS)
    inner_parts = roles(subfolders(inner, flag=flag)) if inner is not None else {}
    if inner is not None and inner_parts and (not parts or "train" in inner_parts):
        return inner, inner_parts
    return directory, parts


def has_validation_part(directory: Path) -> bool:
    """Return whether a folder is divided into train/ and val/ (or validation/, valid/, test/)."""
    if not directory.is_dir():
        return False
    _, parts = divided(directory, flag="--data.train")
    return "train" in parts and ("val" in parts or "test" in parts)


def enter_split(directory: Path, *, split: str, flag: str) -> Path:
    """Return the part of a divided folder, or the folder itself.

    Test images are taken for validation where there are no others.

    Args:
        directory: the folder.
        split: ``"train"``, ``"val"``, ``"unlabelled"``, or ``"whole"`` for the folder itself.
        flag: where the user gave the folder, for errors.

    Raises:
        DataError: if the folder cannot be read, is divided and lacks the part, or has several of it.
    """
    folder, parts = divided(directory, flag=flag)
    if split == "whole" or not parts:
        return directory
    name = part_of(parts, split, where=folder, flag=flag)
    return directory if name is None else folder / name


def part_of(parts: dict[str, list[str]], split: str, *, where: Path, flag: str) -> str | None:
    """Return the sub-folder of a split; None for unlabelled images where no sub-folder is for them.

    Args:
        parts: sub-folders of a divided folder by their roles.
        split: ``"train"``, ``"val"`` or ``"unlabelled"``.
        where: the folder.
        flag: where the user gave it, for errors.

    Raises:
        DataError: if there is no such part, or more than one.
    """
    wanted = "test" if split == "val" and "val" not in parts else split
    found = parts.get(wanted, [])
    plain = [item for item in found if item.lower() == wanted]
    if len(found) == 1 or plain:
        return (plain or found)[0]
    if found:
        raise DataError(
            f"{where} has {', '.join(f'{item}/' for item in found)}: accepted is one of them, such as "
            f"{where / found[0]} ({flag})"
        )
    if split == "unlabelled":
        return None
    has = ", ".join(f"{item}/" for items in parts.values() for item in items)
    raise DataError(
        f"{where} has {has} but none of {_SHOWN[split]}; accepted: DIR/train/CLASS/a.jpg beside "
        f"DIR/val/CLASS/b.jpg, or one of these folders itself ({flag})"
    )


def find_images(
    directory: Path, *, flag: str = "--data.train", held_out: bool = True
) -> tuple[list[str], list[str]]:
    """List the images below a folder, at any depth; links are followed, loops of links are not.

    Args:
        directory: the folder.
        flag: where the user gave the folder, for the error.
        held_out: whether folders of validation and test images are entered that stand beside training
            images; those that are not are named in the log.

    Returns:
        The images' and the other files' paths relative to the folder, with ``/`` between parts,
        each list sorted by code point (the same order on every system).

    Raises:
        DataError: if a folder cannot be read.
    """
    names: list[str] = []
    ignored: list[str] = []
    closed: list[str] = []
    # A folder that is its own ancestor, by identity and not by name, is a loop of links.
    waiting: list[tuple[str, str, frozenset[tuple[int, int]]]] = [(str(directory), "", frozenset())]
    while waiting:
        path, prefix, ancestors = waiting.pop()
        folders: list[str] = []
        try:
            status = os.stat(path)  # noqa: PTH116  # a million files: no Path object for each
            identity = (status.st_dev, status.st_ino)
            if identity in ancestors:
                continue
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or entry.name in _SKIPPED:
                        continue
                    if entry.is_dir():
                        folders.append(entry.name)
                    elif entry.name.lower().endswith(SUFFIXES) and _is_readable_kind(entry):
                        names.append(prefix + entry.name)
                    else:
                        ignored.append(prefix + entry.name)
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}) ({flag})") from None
        parts = {} if held_out else roles(folders)
        out = {*parts.get("val", ()), *parts.get("test", ())} if "train" in parts else set()
        closed += [prefix + item for item in out]
        for item in folders:
            if item not in out:
                waiting.append(
                    (f"{path}{os.sep}{item}", f"{prefix}{item}/", ancestors | {identity})
                )
    if closed:
        logger.warning(
            "%s: %d folders of validation or test images are left out, such as %s/",
            *(directory, len(closed), min(closed)),
        )
    names.sort()
    ignored.sort()
    return names, ignored


def warn_of_other_images(name: str, root: Path, ignored: Iterable[str]) -> None:
    """Warn once of the images in formats that are not read, with their number by suffix.

    Args:
        name: of the source.
        root: folder that the names are relative to.
        ignored: names of the files beside the images.
    """
    found: Counter[str] = Counter()
    bare: list[str] = []
    for item in ignored:
        suffix = os.path.splitext(item)[1].lower()  # noqa: PTH122  # no Path object for each
        if suffix in _OTHER_IMAGES:
            found[suffix] += 1
        elif not suffix and len(bare) < _MOST_OPENED:
            bare.append(item)
    nameless = sum(_begins_as_image(root / item) for item in bare)
    if nameless:
        found["without a suffix"] = nameless
    if found:
        logger.warning(
            "%s: images left out: %d (%s); only %s files are read: convert or rename the others to "
            "include them",
            name,
            found.total(),
            ", ".join(f"{suffix} {count}" for suffix, count in found.most_common()),
            " ".join(SUFFIXES),
        )


def _begins_as_image(path: Path) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(12).startswith(_BEGINNINGS)
    except OSError:
        return False


def subfolders(directory: Path, *, flag: str = "--data.train") -> list[str]:
    """Return the names of the folders in a folder, without hidden ones.

    Raises:
        DataError: if the folder cannot be read.
    """
    try:
        with os.scandir(directory) as entries:
            return [
                entry.name
                for entry in entries
                if not entry.name.startswith(".") and entry.name not in _SKIPPED and entry.is_dir()
            ]
    except OSError as error:
        raise DataError(f"{directory} cannot be read ({error.strerror}) ({flag})") from None


def _is_readable_kind(entry: os.DirEntry[str]) -> bool:
    """Refuse pipes and sockets, which would block; a dangling link counts, so that it is reported."""
    return entry.is_file() or entry.is_symlink()
