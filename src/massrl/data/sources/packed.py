"""Images packed into plain tar files, with an index that finds any of them at once.

``OUT-00000.tar``, ``OUT-00001.tar``, … hold for each image its file and, where it has a label, its
class as text (``000000017.jpg``, ``000000017.cls``), as WebDataset reads them. The index
``OUT-index.safetensors`` is written last, so that a set that was not finished is none.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from threading import Lock

from safetensors import SafetensorError, safe_open

from massrl.data.source import Normalization, Source
from massrl.data.sources.folders import PackedNames, files_fingerprint
from massrl.errors import DataError, ImageError


class PackedSource(Source):
    """Packed images, in the order and with the labels that they were packed in.

    Args:
        pattern: ``OUT-*.tar``, or one of the shards.
        flag: the flag it came from, for errors.

    Raises:
        DataError: if the set is not complete or its index not readable.
    """

    def __init__(self, pattern: str, *, flag: str = "--data.train") -> None:
        index = index_path(pattern)
        if not index.is_file():
            raise DataError(
                f"{pattern} has no index {index.name}: packing was not finished, or is to be done by "
                f"massrl data pack ({flag})"
            )
        try:
            with safe_open(index, framework="np") as file:
                about = json.loads((file.metadata() or {})["massrl"])
                columns = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise DataError(f"{index} cannot be read as an index: {error} ({flag})") from None
        self._shards = [index.parent / name for name in about["shards"]]
        for path, size in zip(self._shards, about["shards"].values(), strict=True):
            if not path.is_file():
                raise DataError(f"{index} names {path.name}, which is not there ({flag})")
            if path.stat().st_size != size:
                raise DataError(
                    f"{path} has {path.stat().st_size:,} bytes and not the {size:,} that were packed: it "
                    f"was cut off, or is another set's ({flag})"
                )
        self.name = about["name"]
        self.class_names = tuple(about["class_names"])
        self.normalization = Normalization(mean=tuple(about["mean"]), std=tuple(about["std"]))
        self.labels = columns["labels"] if self.class_names else None
        self.names = PackedNames.of(columns["names"].tobytes(), columns["ends"])
        self._shard, self._offset, self._size = (
            columns[name] for name in ("shard", "offset", "size")
        )
        self._descriptors: dict[int, int] = {}
        self._opening = Lock()

    def __len__(self) -> int:
        return len(self._size)

    def read(self, index: int) -> bytes:
        """The bytes of an image's file; see ``Source.read``."""
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
        """See ``Source.fingerprint``: that of the folder, where nothing was encoded anew."""
        return files_fingerprint(self.names, self._size.tolist(), self.labels, self.class_names)

    def __getstate__(self) -> dict[str, object]:
        state = {**vars(self), "_descriptors": {}}  # a worker opens its own
        return {name: value for name, value in state.items() if name != "_opening"}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._opening = Lock()

    def __del__(self) -> None:
        for descriptor in getattr(self, "_descriptors", {}).values():
            os.close(descriptor)


def index_path(pattern: str) -> Path:
    """``OUT-*.tar`` or ``OUT-00003.tar`` -> ``OUT-index.safetensors``."""
    path = Path(pattern).expanduser()
    return path.with_name(f"{path.name.rpartition('-')[0]}-index.safetensors")
