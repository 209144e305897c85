"""Find the files that a list names, however the list was written.

Lists come from several systems and tools. Names are equal whether their letters are composed or decomposed
(NFC, NFD), folders are separated by slashes or by backslashes, ``./`` stands before them or not, and the
suffix is in upper or lower case; an image may be named without its suffix.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from unicodedata import normalize

from massrl.data.sources.find_images import SUFFIXES
from massrl.errors import DataError

_ANNOTATIONS = (".xml", ".txt", ".json")  # suffixes that stand for the image of the same name
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def composed(text: str) -> str:
    """Return text with composed letters (NFC), as which all names and classes are compared."""
    return text if text.isascii() else normalize("NFC", text)


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Read the lines of a text file that are not blank, with their numbers from 1.

    Line ends may be those of any system; a byte-order mark may stand first, also that of UTF-16.

    Raises:
        OSError: if the file cannot be read.
        UnicodeDecodeError: if it is no text in UTF-8, nor in UTF-16 with a byte-order mark.
    """
    content = path.read_bytes()
    if b"\0" in content and not content.startswith(_UTF16):  # no name of a file has one
        place = content.index(b"\0")
        raise UnicodeDecodeError("utf-8", content, place, place + 1, "a zero byte")
    text = content.decode("utf-16" if content.startswith(_UTF16) else "utf-8-sig")
    lines = enumerate(re.split(r"\r\n|\n|\r", text), 1)
    return [(number, line) for number, line in lines if line.strip()]


def readings(line: str) -> Iterator[tuple[str, str]]:
    """Yield the ways to read a line: a name alone; or a name, and text behind a tab, a comma or a blank.

    A name may have blanks and commas itself, so that the first reading that names a file is the right one.

    Example:
        >>> list(readings("my cat.jpg,cat"))
        [('my cat.jpg,cat', ''), ('my cat.jpg', 'cat'), ('my', 'cat.jpg,cat')]
    """
    yield line.strip(), ""
    name, tab, rest = line.partition("\t")
    if tab and name.strip():
        yield name.strip(), rest.strip()
    try:
        cells = [cell.strip() for cell in next(csv.reader([line.strip()]), [])]
    except csv.Error:
        cells = []
    if '"' in line and len(cells) == 1:
        yield cells[0], ""
    elif len(cells) > 1:
        yield ",".join(cells[:-1]), cells[-1]
    words = line.rsplit(None, 1)
    if len(words) == 2:
        yield words[0].strip(), words[1]


def missing_name(line: str) -> tuple[str, str]:
    """Return the name, and what is behind it, that a line has whose file is not there."""
    found = list(readings(line))
    return next((item for item in found if _split(item[0])[1]), found[0])


class FileNames:
    """Files, found by the ends of their paths.

    Args:
        paths: of the files, relative or absolute.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._by_stem: dict[str, list[int]] = {}
        for index, path in enumerate(paths):
            stem, _ = _split(_parts(path)[-1])
            self._by_stem.setdefault(stem, []).append(index)

    def find(self, name: str) -> list[int]:
        """Return the numbers of the files that a name may mean; one that is spelt the same goes first.

        Args:
            name: of a file, with or without suffix, with or without folders before it.
        """
        parts = _parts(name)
        stem, suffix = _split(parts[-1])
        found = self._among(parts[:-1], stem, suffix)
        if not found and stem.lower().endswith(_ANNOTATIONS):
            found = self._among(parts[:-1], stem.rpartition(".")[0], "")
        spelt = [index for index in found if self._paths[index].endswith(name)]
        return spelt if len(spelt) == 1 else found

    def _among(self, folders: list[str], stem: str, suffix: str) -> list[int]:
        found = []
        for index in self._by_stem.get(stem, ()):
            own = _parts(self._paths[index])
            if suffix in ("", _split(own[-1])[1]) and folders == own[-1 - len(folders) : -1]:
                found.append(index)
        return found


class _Listing:
    """The files of one folder.

    Args:
        prefix: the folder relative to the root, with a / behind it; empty for the root.
        names: of the files.
    """

    def __init__(self, prefix: str, names: list[str]) -> None:
        self.prefix, self.names, self.spelt = prefix, names, frozenset(names)

    @cached_property
    def files(self) -> FileNames:
        """The names as they may be spelt; not made where all names of a list are spelt alike."""
        return FileNames(self.names)


class NamedFiles:
    """Files below a folder, found by their relative or absolute paths; only folders that are named are read.

    Args:
        root: the folder.
        flag: where the user gave it, for errors.
        shorten: whether a name may have folders before it that are not below the root, as where a list
            was made for another place.
    """

    def __init__(self, root: Path, *, flag: str, shorten: bool = False) -> None:
        self._root, self._flag, self._shorten = root, flag, shorten
        self._listings: dict[tuple[str, ...], _Listing | None] = {}
        self._as_spelt: dict[
            str, _Listing
        ] = {}  # by folder, where names of the list are as on the disk

    def find(self, line: str) -> tuple[str, str] | None:
        """Return path, relative to the root, and the rest of a line of a list; None if there is no file.

        Raises:
            DataError: if a name without suffix means several images.
        """
        name, _, rest = line.partition("\t")
        before, _, behind = line.rpartition(",")
        # The quick way, for most lines of most lists.
        for short, text in ((name, rest), (before, behind)):
            folder, _, last = short.rpartition("/")
            if folder in self._as_spelt and last in self._as_spelt[folder].spelt:
                return short, text.strip()
        for name, rest in readings(line):
            path = self._path(name)
            if path is not None:
                return path, rest
        return None

    def find_all(self, lines: Sequence[str], *, what: str) -> list[str]:
        """Return the path of each line's file.

        Args:
            lines: of a list.
            what: the list, for errors.

        Raises:
            DataError: if files are missing, or if lines with different folders mean the same file.
        """
        found = [self.find(line) for line in lines]
        missing = [line.strip() for line, item in zip(lines, found, strict=True) if item is None]
        if missing:
            raise DataError(
                f"{self._root} lacks {missing[0]} and {len(missing) - 1} more of {what} ({self._flag})"
            )
        paths = [item[0] for item in found if item is not None]
        first: dict[str, str] = {}
        for line, path in zip(lines, paths, strict=True):
            other = first.setdefault(path, line)
            if (
                _parts(other)[:-1] != _parts(line)[:-1]
                and min(len(_parts(other)), len(_parts(line))) > 1
            ):
                raise DataError(
                    f"{other.strip()} and {line.strip()} of {what} are both {path} in {self._root} "
                    f"({self._flag})"
                )
        return paths

    def _path(self, name: str) -> str | None:
        parts = _parts(name)
        for start in range(len(parts) if self._shorten else 1):
            listing = self._listing(tuple(parts[start:-1]))
            if listing is None:
                continue
            if listing.prefix + parts[-1] == name and parts[-1] in listing.spelt:
                self._as_spelt[listing.prefix.removesuffix("/")] = listing
                return name
            found = listing.files.find(parts[-1])
            if len(found) > 1:
                several = " and ".join(sorted(listing.names[index] for index in found))
                raise DataError(
                    f"{name!r} means {several} in {self._root}: a suffix tells them apart ({self._flag})"
                )
            if found:
                return listing.prefix + listing.names[found[0]]
        return None

    def _listing(self, folders: tuple[str, ...]) -> _Listing | None:
        """List a folder, which is named by its parts; None if it is not there."""
        if folders not in self._listings:
            path = self._root
            for part in folders:
                path = _child(path, part) or path / part
            try:
                names = os.listdir(path)  # noqa: PTH208  # a million files: no Path object for each
            except (OSError, ValueError):
                self._listings[folders] = None
            else:
                inside = path.is_relative_to(self._root)
                shown = path.relative_to(self._root).as_posix() if inside else path.as_posix()
                prefix = "" if shown == "." else f"{shown.rstrip('/')}/"
                self._listings[folders] = _Listing(prefix, names)
        return self._listings[folders]


def _child(folder: Path, name: str) -> Path | None:
    """Return a sub-folder, whose name may be spelt with decomposed letters."""
    if name in ("", "/"):
        return folder / "/"
    for spelling in dict.fromkeys((name, normalize("NFC", name), normalize("NFD", name))):
        if os.path.exists(folder / spelling):  # noqa: PTH110  # False for a name that cannot exist
            return folder / spelling
    return None


def _parts(path: str) -> list[str]:
    """Return the folders and the file name of a path, in one spelling; of an absolute one, "" first."""
    parts = composed(path.strip()).replace("\\", "/").split("/")
    return [part for index, part in enumerate(parts) if part != "." and (part or index == 0)]


def _split(name: str) -> tuple[str, str]:
    """Return a file name without its suffix, and that in lower case; none if it is not one of an image."""
    stem, _, suffix = name.strip().rpartition(".")
    ending = f".{suffix.lower()}"
    return (stem, ending) if stem and ending in SUFFIXES else (name, "")
