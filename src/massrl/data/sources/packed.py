"""Images packed into plain tar files, with an index that finds any of them at once.

``OUT-00000.tar``, ``OUT-00001.tar``, … hold for each image its file and, where it has a label, its
class as text (``000000017.jpg``, ``000000017.cls``), as WebDataset reads them. The index
``OUT-index.safetensors`` is written last, so that an unfinished set cannot be opened.
"""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote
from threading import Lock

import numpy as np

from massrl.data.source import Normalization, Source
from massrl.data.sources.base import OpenOptions, SourceKind, Spec
from massrl.data.sources.folders import files_fingerprint, has_image
from massrl.data.sources.pack_index import read_pack_index
from massrl.data.sources.string_array import StringArray
from massrl.errors import DataError, ImageError


class PackedKind(SourceKind):
    """Tar shards of ``massrl data pack``, as ``OUT-*.tar``, or their folder."""

    def matches(self, spec: Spec) -> bool:
        """See ``SourceKind.matches``."""
        return spec.text.endswith(".tar") or bool(_patterns_in(spec.path))

    def open(self, spec: Spec, options: OpenOptions) -> Source:
        """See ``SourceKind.open``; a set that is packed as one has no splits."""
        patterns = [spec.text] if spec.text.endswith(".tar") else _patterns_in(spec.path)
        if len(patterns) > 1:
            accepted = " or ".join(quote(pattern) for pattern in patterns)
            raise DataError(
                f"{spec.text} has several packed sets; accepted: {accepted} ({options.flag})"
            )
        source = PackedSource(patterns[0], flag=options.flag)
        if spec.labelled is False:
            source.labels, source.class_names = None, ()
        elif spec.labelled and source.labels is None:
            raise DataError(f"{spec.text} has no labels ({options.flag})")
        return source


class PackedSource(Source):
    """Packed images, in the order and with the labels that they were packed in.

    Args:
        pattern: ``OUT-*.tar``, or one of the shards.
        flag: where the user gave the pattern, for errors.

    Raises:
        DataError: if the set is incomplete or its index cannot be read.
    """

    def __init__(self, pattern: str, *, flag: str = "--data.train") -> None:
        index = index_path(pattern)
        if not index.is_file():
            folder = quote(pattern.partition("*")[0].removesuffix(".tar").rstrip("-") or "images")
            shards = "*".join(quote(part) if part else "" for part in pattern.split("*"))
            raise DataError(
                f"{pattern} has no index {index.name}: packing was not finished, or the shards are not "
                "of massrl data pack; those of WebDataset are read as a folder: "
                f'mkdir {folder}; for shard in {shards}; do tar -xf "$shard" -C {folder}; done ({flag})'
            )
        about, columns = read_pack_index(index, flag=flag)
        self._shards = [index.parent / name for name in about["shards"]]
        for path, size in zip(self._shards, about["shards"].values(), strict=True):
            if not path.is_file():
                raise DataError(f"{index} names {path.name}, which is not there ({flag})")
            if path.stat().st_size != size:
                raise DataError(
                    f"{path} has {path.stat().st_size:,} bytes instead of the {size:,} that were packed: "
                    f"it is truncated, or of another set ({flag})"
                )
        self.name = about["name"]
        self.class_names = tuple(about["class_names"])
        self.normalization = Normalization(mean=tuple(about["mean"]), std=tuple(about["std"]))
        self.labels = columns["labels"] if self.class_names else None
        self.names = StringArray.from_parts(columns["names"].tobytes(), columns["ends"])
        self._shard, self._offset, self._size = (
            columns[name] for name in ("shard", "offset", "size")
        )
        self._descriptors: dict[int, int] = {}
        self._opening = Lock()

    def __len__(self) -> int:
        return len(self._size)

    def read(self, index: int) -> bytes:
        """Return the bytes of an image's file; see ``Source.read``."""
        shard = int(self._shard[index])
        try:
            with self._opening:
                if shard not in self._descriptors:
                    self._descriptors[shard] = os.open(self._shards[shard], os.O_RDONLY)
            size, offset = int(self._size[index]), int(self._offset[index])
            content = os.pread(self._descriptors[shard], size, offset)
        except OSError as error:
            raise ImageError(self.describe(index), f"cannot be read ({error.strerror})") from None
        if len(content) < size:
            raise ImageError(self.describe(index), "cannot be read (the shard ends before it)")
        return content

    def describe(self, index: int) -> str:
        """See ``Source.describe``: the shard, and the name before packing."""
        return f"{self._shards[int(self._shard[index])].name}:{self.names[index]}"

    def fingerprint(self) -> str:
        """See ``Source.fingerprint``: that of the folder, if no image was re-encoded."""
        return files_fingerprint(
            self.names, self.sizes(), labels=self.labels, class_names=self.class_names
        )

    def sizes(self) -> np.ndarray:
        """See ``Source.sizes``."""
        return np.asarray(self._size, np.int64)

    def __getstate__(self) -> dict[str, object]:
        state = {**vars(self), "_descriptors": {}}  # a worker opens its own
        return {name: value for name, value in state.items() if name != "_opening"}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._opening = Lock()

    def __del__(self) -> None:
        for descriptor in getattr(self, "_descriptors", {}).values():
            os.close(descriptor)


def _patterns_in(folder: Path) -> list[str]:
    """Return ``OUT-*.tar`` of every packed set in a folder that has no images besides."""
    ending = "-index.safetensors"
    found = sorted(folder.glob(f"*{ending}")) if folder.is_dir() else []
    if not found or has_image(folder):
        return []
    return [f"{str(index).removesuffix(ending)}-*.tar" for index in found]


def index_path(pattern: str) -> Path:
    """Return the path of the index, ``OUT-index.safetensors`` of ``OUT-*.tar`` or ``OUT-00003.tar``."""
    path = Path(pattern).expanduser()
    return path.with_name(f"{path.name.rpartition('-')[0]}-index.safetensors")
