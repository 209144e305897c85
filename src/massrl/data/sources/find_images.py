"""Find image files in folders, and the parts (train, val) of a divided folder."""

from __future__ import annotations

import os
from pathlib import Path

from massrl.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
_SKIPPED = frozenset(("__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini"))  # and hidden files
_SPLIT_FOLDERS = {
    "train": ("train",),
    "val": ("val", "validation", "valid", "test"),
    "unlabelled": ("unlabelled", "unlabeled"),
    "whole": (),
}


def has_validation_part(directory: Path) -> bool:
    """Return whether a folder is divided into train/ and val/ (or validation/, valid/, test/)."""
    if not directory.is_dir():
        return False
    has_val = any((directory / item).is_dir() for item in _SPLIT_FOLDERS["val"])
    return has_val and enter_split(directory, split="train", flag="--data.train") != directory


def enter_split(directory: Path, *, split: str, flag: str) -> Path:
    """Return the part of a divided folder, or the folder itself.

    A folder is divided if it holds ``train/`` and either a folder of validation images or nothing else;
    beside other folders, ``train`` is the name of a class.

    Args:
        directory: the folder.
        split: ``"train"``, ``"val"``, ``"unlabelled"``, or ``"whole"`` for the folder itself.
        flag: where the user gave the folder, for errors.

    Raises:
        DataError: if the folder cannot be read, or is divided and lacks the part.
    """
    try:
        present = {item.name for item in directory.iterdir() if item.is_dir()}
    except OSError as error:
        raise DataError(f"{directory} cannot be read ({error.strerror}) ({flag})") from None
    present = {item for item in present if not item.startswith(".") and item not in _SKIPPED}
    has_val = present.intersection(_SPLIT_FOLDERS["val"])
    if "train" not in present or not (has_val or present == {"train"}):
        return directory
    for item in _SPLIT_FOLDERS[split]:
        if item in present:
            return directory / item
    if split in ("unlabelled", "whole"):
        return directory
    accepted = ", ".join(f"{item}/" for item in _SPLIT_FOLDERS[split])
    raise DataError(f"{directory} has train/ but none of {accepted} ({flag})")


def find_images(directory: Path, *, flag: str = "--data.train") -> tuple[list[str], list[str]]:
    """List the images below a folder, at any depth; links are followed, loops of links are not.

    Args:
        directory: the folder.
        flag: where the user gave the folder, for the error.

    Returns:
        The images' and the other files' paths relative to the folder, with ``/`` between parts,
        each list sorted by code point (the same order on every system).

    Raises:
        DataError: if a folder cannot be read.
    """
    names: list[str] = []
    ignored: list[str] = []
    # A folder that is its own ancestor, by identity and not by name, is a loop of links.
    waiting: list[tuple[str, str, frozenset[tuple[int, int]]]] = [(str(directory), "", frozenset())]
    while waiting:
        path, prefix, ancestors = waiting.pop()
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
                        inner = (entry.path, f"{prefix}{entry.name}/", ancestors | {identity})
                        waiting.append(inner)
                    elif entry.name.lower().endswith(SUFFIXES) and _is_readable_kind(entry):
                        names.append(prefix + entry.name)
                    else:
                        ignored.append(prefix + entry.name)
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}) ({flag})") from None
    names.sort()
    ignored.sort()
    return names, ignored


def _is_readable_kind(entry: os.DirEntry[str]) -> bool:
    """Refuse pipes and sockets, which would block; a dangling link counts, so that it is reported."""
    return entry.is_file() or entry.is_symlink()
