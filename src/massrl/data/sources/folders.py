"""Images in files: folders of any depth, labelled or unlabelled, and text files of paths."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from massrl.data.source import IMAGENET_NORMALIZATION, Normalization, Source, digest
from massrl.data.sources.base import OpenOptions, SourceKind, Spec
from massrl.data.sources.find_images import (
    SUFFIXES,
    enter_split,
    find_images,
    has_validation_part,
    warn_of_other_images,
)
from massrl.data.sources.name_lists import NamedFiles, composed, missing_name, read_lines
from massrl.data.sources.string_array import StringArray
from massrl.errors import DataError, ImageError, counted

logger = logging.getLogger("massrl")

_SHORT_LIST = 1 << 20  # bytes


class FilesKind(SourceKind):
    """Folders of images at any depth, and text files of paths."""

    is_fallback = True

    def matches(self, spec: Spec) -> bool:
        """See ``SourceKind.matches``; a prefix always stands before a path."""
        return spec.labelled is not None or spec.path.exists()

    def open(self, spec: Spec, options: OpenOptions) -> Source:
        """See ``SourceKind.open``."""
        return open_path(spec.path, split=options.split, labelled=spec.labelled, flag=options.flag)

    def check(self, spec: Spec, options: OpenOptions) -> None:
        """See ``SourceKind.check``: a folder has an image, and the paths of a short list exist."""
        long = spec.path.is_file() and spec.path.stat().st_size > _SHORT_LIST
        if not long and not has_image(spec.path):
            self.open(spec, options)  # raises, if there is none

    def validation_spec(self, spec: Spec) -> str | None:
        """See ``SourceKind.validation_spec``: that of a folder with ``train/`` and ``val/``."""
        divided = spec.labelled is None and has_validation_part(spec.path)
        return spec.text if divided else None


class FileSource(Source):
    """Images that are files.

    Args:
        name: short name for logs.
        root: folder that the names are relative to.
        names: path of each image, with ``/`` between parts, relative to the root or absolute.
        labels: class index of each image, or None.
        class_names: name of each class.
        normalization: the set's constants.
        ignored_names: files beside the images that are not read, as they are no images.
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
        self.names = StringArray(names)
        self.labels = None if labels is None else np.asarray(labels, np.int64)
        self.class_names = tuple(class_names)
        self.normalization = normalization
        self.ignored_names = StringArray(ignored_names)

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> Path:
        """Return the path of an image."""
        return self.root / self.names[index]

    def read(self, index: int) -> bytes:
        """Return the file's bytes.

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
        """Return the image's path."""
        return str(self.path(index))

    def file(self, index: int) -> str:
        """See ``Source.file``."""
        return str(self.path(index))

    def fingerprint(self) -> str:
        """See ``Source.fingerprint``; names are relative, so that a folder may be moved."""
        return files_fingerprint(
            self.names, self.sizes(), labels=self.labels, class_names=self.class_names
        )

    def sizes(self) -> np.ndarray:
        """See ``Source.sizes``."""
        return np.array([_size(self.path(index)) for index in range(len(self))], np.int64)


def has_image(folder: Path) -> bool:
    """Return whether an image is found in a folder, links to others aside; stops at the first."""
    waiting = [str(folder)] if folder.is_dir() else []
    try:
        while waiting:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.name.lower().endswith(SUFFIXES):
                        return True
    except OSError:
        return False
    return False


def files_fingerprint(
    names: Sequence[str],
    sizes: np.ndarray,
    *,
    labels: np.ndarray | None,
    class_names: tuple[str, ...],
) -> str:
    """Return the fingerprint of images that are files; see ``Source.fingerprint``.

    Args:
        names: of the files.
        sizes: of the files, bytes.
        labels: class of each, or None.
        class_names: of the labels.
    """
    encoded = (name.encode("utf-8", "surrogateescape") for name in names)
    lengths = sizes.astype(np.int64).tobytes()
    numbers = b"" if labels is None else labels.tobytes()
    return digest([lengths, numbers, repr(class_names).encode(), *encoded])


def relative_names(paths: Sequence[Path], root: Path) -> list[str]:
    """Return names for ``FileSource``: paths relative to a folder where they are in it, else absolute."""
    return [
        path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path.absolute())
        for path in paths
    ]


def open_path(path: Path, *, split: str, labelled: bool | None, flag: str) -> FileSource:
    """Open a folder or a text file of paths.

    Args:
        path: the folder or file.
        split: the part to open of a folder that is divided into parts.
        labelled: True or False to override the layout, None to follow it.
        flag: where the user gave the path, for errors.

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
    part = enter_split(directory, split=split, flag=flag)
    name = directory.resolve().name or str(directory)
    if part != directory:
        inner = part.relative_to(directory).as_posix()
        logger.info("%s: only %s/ is opened", directory, inner)
        name = f"{name}/{inner}"
    names, ignored = find_images(part, flag=flag, held_out=split in ("val", "whole"))
    warn_of_other_images(name, part, ignored)
    if not names:
        raise DataError(
            f"no images in {part} ({counted(len(ignored), 'other file')}); accepted: a folder of any depth "
            f"with {' '.join(SUFFIXES)} files, a text file of paths, or a dataset's name ({flag})"
        )
    depths = {item.count("/") for item in names}
    classes = sorted({composed(item.partition("/")[0]) for item in names})
    if labelled is None:
        labelled = split != "unlabelled" and depths == {1} and len(classes) >= 2
    if not labelled:
        source = FileSource(name, part, names=names, ignored_names=ignored)
        source.only_class = classes[0] if depths == {1} and len(classes) == 1 else None
        return source
    if 0 in depths:
        loose = next(item for item in names if "/" not in item)
        raise DataError(
            f"{part} holds images outside a class folder, such as {loose!r}; a labelled folder is "
            f"DIR/CLASS/IMAGE; 'unlabelled:{directory}' takes all without labels ({flag})"
        )
    index_of = {item: index for index, item in enumerate(classes)}
    labels = [index_of[composed(item.partition("/")[0])] for item in names]
    return FileSource(
        name, part, names=names, labels=labels, class_names=classes, ignored_names=ignored
    )


def _open_list(path: Path, *, flag: str) -> FileSource:
    """Open a text file: one path a line, relative to the file's folder, and perhaps a class behind it.

    The class stands after a tab, a comma or a blank; see ``name_lists`` for what a path may look like.
    """
    try:
        rows = read_lines(path)
    except (OSError, UnicodeDecodeError) as error:
        accepted = "accepted: a text file in UTF-8 with one path a line"
        raise DataError(f"{path} cannot be read ({error}); {accepted} ({flag})") from None
    files = NamedFiles(path.parent, flag=flag)
    if len(rows) > 1 and "." not in rows[0][1] and files.find(rows[0][1]) is None:
        rows = rows[1:] if files.find(rows[1][1]) is not None else rows  # names of columns
    if not rows:
        raise DataError(f"{path} lists no images; accepted: one path a line ({flag})")
    if files.find(rows[0][1]) is None:
        raise DataError(
            f"{path}, line {rows[0][0]}: {missing_name(rows[0][1])[0]!r} does not exist; paths are "
            f"relative to {path.parent} ({flag})"
        )
    found = [files.find(line) or missing_name(line) for _, line in rows]
    names, classes = [name for name, _ in found], [composed(label) for _, label in found]
    repeated = len(names) - len(set(names))
    if repeated:
        logger.warning(
            "%s names images again, which are then used as often: %s",
            path,
            counted(repeated, "line"),
        )
    if not any(classes):
        return FileSource(path.stem, path.parent, names=names)
    if not all(classes):
        number = rows[classes.index("")][0]
        raise DataError(
            f"{path}, line {number}: no class after a tab or a comma, as other lines have ({flag})"
        )
    class_of = dict(zip(names, classes, strict=True))
    other = next(
        (pair for pair in zip(names, classes, strict=True) if class_of[pair[0]] != pair[1]), None
    )
    if other is not None:
        raise DataError(
            f"{path} has {other[0]} in two classes, {other[1]!r} and {class_of[other[0]]!r} ({flag})"
        )
    ordered = sorted(set(classes))  # by code point, as the classes of a labelled folder
    index_of = {item: index for index, item in enumerate(ordered)}
    labels = [index_of[item] for item in classes]
    return FileSource(path.stem, path.parent, names=names, labels=labels, class_names=ordered)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
