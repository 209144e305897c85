"""Find image files in folders, and the parts (train, val) of a divided folder."""

from __future__ import annotations

import os
from pathlib import Path

from massrl.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")


_ACCEPTED = " ".join(SUFFIXES)


_SKIPPED = frozenset(("__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini"))  # and hidden files


_SPLIT_FOLDERS = {
    "train": ("train",),
    "val": ("val", "validation", "valid", "test"),
    "unlabelled": ("unlabelled", "unlabeled"),
    "whole": (),
}


def has_validation_part(directory: Path) -> bool:
    """Whether a folder is divided into train/ and val/ (or validation/, valid/, test/)."""
    if not directory.is_dir():
        return False
    judged = any((directory / item).is_dir() for item in _SPLIT_FOLDERS["val"])
    return judged and _part_of(directory, split="train", flag="--data.train") != directory


def _part_of(directory: Path, *, split: str, flag: str) -> Path:
    """Enter train/, val/ … where the folder is divided so; a class may also be called "train"."""
    try:
        present = {item.name for item in directory.iterdir() if item.is_dir()}
    except OSError as error:
        raise DataError(f"{directory} cannot be read ({error.strerror}) ({flag})") from None
    present = {item for item in present if not item.startswith(".") and item not in _SKIPPED}
    judged = present.intersection(_SPLIT_FOLDERS["val"])
    if "train" not in present or not (judged or present == {"train"}):
        return directory
    for item in _SPLIT_FOLDERS[split]:
        if item in present:
            return directory / item
    if split in ("unlabelled", "whole"):
        return directory
    accepted = ", ".join(f"{item}/" for item in _SPLIT_FOLDERS[split])
    raise DataError(f"{directory} has train/ but none of {accepted} ({flag})")


def find_images(directory: Path, *, flag: str = "--data.train") -> tuple[list[str], list[str]]:
    """List the images below a folder, at any depth, following links but never in circles.

    Args:
        directory: where to look.
        flag: the flag it came from, for the error.

    Returns:
        The images' and the other files' paths relative to the folder, with ``/`` between parts,
        each list sorted by code point (so in the same order on every system).

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
    """Not a pipe or socket, which would block. A dangling link counts, so that it is reported."""
    return entry.is_file() or entry.is_symlink()
