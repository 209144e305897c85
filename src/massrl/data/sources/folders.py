"""Images in files: folders of any depth, labelled or not, and text files of paths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from massrl.data.source import IMAGENET_NORMALIZATION, Normalization, Source, digest
from massrl.data.sources.find_images import _ACCEPTED, SUFFIXES, _part_of, find_images
from massrl.errors import DataError, ImageError


class PackedNames(Sequence[str]):
    """Many strings in one block of memory.

    A list of a million paths is a million Python objects; every loader worker that touches their
    reference counts copies the whole list. Two arrays are shared for good.
    """

    def __init__(self, names: Sequence[str]) -> None:
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
        self._block = b"".join(encoded)
        self._ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)

    @classmethod
    def of(cls, block: bytes, ends: np.ndarray) -> PackedNames:
        """What ``parts`` gave, as names again."""
        names = cls(())
        names._block, names._ends = block, ends
        return names

    def parts(self) -> tuple[bytes, np.ndarray]:
        """All names in one block, and where each begins and the last ends, int64 ``(n + 1,)``."""
        return self._block, self._ends

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:  # type: ignore[override]  # slices are not needed
        if not 0 <= index < len(self):
            raise IndexError(index)
        part = self._block[self._ends[index] : self._ends[index + 1]]
        return part.decode("utf-8", "surrogateescape")


class FileSource(Source):
    """Images that are files.

    Args:
        name: short name for logs.
        root: folder that the names are relative to.
        names: path of each image, with ``/`` between parts; absolute ones stay as they are.
        labels: class index of each image, or None.
        class_names: name of each class.
        normalization: the set's constants.
        ignored_names: files found beside the images that are not taken for images.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        *,
        names: Sequence[str],
        labels: Sequence[int] | np.ndarray | None = None,
        class_names: Sequence[str] = (),
        normalization: Normalization = IMAGENET_NORMALIZATION,
        ignored_names: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.root = root
        self.names = PackedNames(names)
        self.labels = None if labels is None else np.asarray(labels, np.int64)
        self.class_names = tuple(class_names)
        self.normalization = normalization
        self.ignored_names = PackedNames(ignored_names)

    @property
    def ignored(self) -> int:
        """Number of files that stand beside the images and are not taken for images."""
        return len(self.ignored_names)

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> Path:
        """Where the image lies."""
        return self.root / self.names[index]

    def read(self, index: int) -> bytes:
        """The file's bytes.

        Raises:
            ImageError: if the file cannot be read.
        """
        path = self.path(index)
        try:
            return path.read_bytes()
        except OSError as error:
            reason = f"cannot be read ({error.strerror or error})"
            raise ImageError(str(path), reason) from None

    def describe(self, index: int) -> str:
        """The image's path."""
        return str(self.path(index))

    def fingerprint(self) -> str:
        """See ``Source.fingerprint``: names count as relative to the root."""
        sizes = [_size(self.path(index)) for index in range(len(self))]
        return files_fingerprint(self.names, sizes, self.labels, self.class_names)


def files_fingerprint(
    names: Sequence[str],
    sizes: Sequence[int],
    labels: np.ndarray | None,
    class_names: tuple[str, ...],
) -> str:
    """The fingerprint of images that are files, wherever they lie; see ``Source.fingerprint``."""
    encoded = (name.encode("utf-8", "surrogateescape") for name in names)
    lengths = np.array(sizes, np.int64).tobytes()
    numbers = b"" if labels is None else labels.tobytes()
    return digest([lengths, numbers, repr(class_names).encode(), *encoded])


def open_path(path: Path, *, split: str, labelled: bool | None, flag: str) -> FileSource:
    """Open a folder or a text file of paths.

    Args:
        path: the folder or file.
        split: which part to enter where the folder is divided into parts.
        labelled: True or False to decide, None to look at the layout.
        flag: the flag the path came from, for errors.

    Raises:
        DataError: if there is nothing to open.
    """
    if path.is_file():
        if path.suffix.lower() in SUFFIXES:
            raise DataError(
                f"{path} is one image; give its folder, or a text file of paths ({flag})"
            )
        source = _open_list(path, flag=flag)
    elif path.is_dir():
        source = _open_folder(path, split=split, labelled=labelled, flag=flag)
    else:
        raise DataError(f"{path} is neither a folder nor a file ({flag})")
    if labelled is False:
        source.labels, source.class_names = None, ()
    elif labelled and source.labels is None:
        raise DataError(f"{path} has no labels: no second column after a tab ({flag})")
    return source


def _open_folder(directory: Path, *, split: str, labelled: bool | None, flag: str) -> FileSource:
    part = _part_of(directory, split=split, flag=flag)
    name = directory.resolve().name or str(directory)
    if part != directory:
        name = f"{name}/{part.name}"
    names, ignored = find_images(part, flag=flag)
    if not names:
        raise DataError(
            f"no images in {part} ({len(ignored)} other files); accepted: a folder of any depth "
            f"with {_ACCEPTED} files, a text file of paths, or a dataset's name ({flag})"
        )
    depths = {item.count("/") for item in names}
    classes = sorted({item.partition("/")[0] for item in names})
    if labelled is None:
        labelled = split != "unlabelled" and depths == {1} and len(classes) >= 2
    if not labelled:
        return FileSource(name, part, names=names, ignored_names=ignored)
    if 0 in depths:
        loose = next(item for item in names if "/" not in item)
        raise DataError(
            f"{part} holds images outside a class folder, such as {loose!r}; a labelled folder is "
            f"DIR/CLASS/IMAGE; 'unlabelled:{directory}' takes all without labels ({flag})"
        )
    index_of = {item: index for index, item in enumerate(classes)}
    labels = [index_of[item.partition("/")[0]] for item in names]
    return FileSource(
        name, part, names=names, labels=labels, class_names=classes, ignored_names=ignored
    )


def _open_list(path: Path, *, flag: str) -> FileSource:
    """A text file: a path a line, relative to the file's folder; a class after a tab, or none."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        accepted = "accepted: a text file in UTF-8 with one path a line"
        raise DataError(f"{path} cannot be read ({error}); {accepted} ({flag})") from None
    rows = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise DataError(f"{path} lists no images; accepted: one path a line ({flag})")
    names, classes = [], []
    for _, line in rows:
        name, _, label = line.partition("\t")
        names.append(name.rstrip("\r"))
        classes.append(label.strip())
    if not (path.parent / names[0]).exists():
        raise DataError(
            f"{path}, line {rows[0][0]}: {names[0]!r} does not exist; paths are relative to "
            f"{path.parent} ({flag})"
        )
    if not any(classes):
        return FileSource(path.stem, path.parent, names=names)
    if not all(classes):
        number = rows[classes.index("")][0]
        raise DataError(
            f"{path}, line {number}: no class after a tab, as other lines have ({flag})"
        )
    ordered = sorted(set(classes))  # by code point, as the folders of a labelled folder
    index_of = {item: index for index, item in enumerate(ordered)}
    labels = [index_of[item] for item in classes]
    return FileSource(path.stem, path.parent, names=names, labels=labels, class_names=ordered)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
