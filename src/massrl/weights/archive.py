"""Open the two kinds of files that ``torch.save`` has written: zip archives, and pickles in a row."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol

import numpy as np
import torch
from torch import Tensor

from massrl.errors import CheckpointError
from massrl.weights.pickled import CUT, DAMAGED, Call, Unpickler
from massrl.weights.tensors import Storage, storage_of

_ZIP = b"PK\x03\x04"
_TAR = (b"ustar", 257)  # in files of before PyTorch 0.1.10, and where
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_CHUNK = 1 << 24  # bytes
_MAX_EXPANSION = 4  # unpacked size over file size


class Archive(Protocol):
    """An open file of ``torch.save``.

    Attributes:
        content: what its pickle describes.
        calls: every call in it.
    """

    content: Any
    calls: list[Call]

    def read(self, storage: Storage) -> Tensor:
        """Return the bytes of a storage, in this machine's byte order: ``uint8``, one-dimensional."""
        ...


def open_archive(file: BinaryIO, *, path: Path, accept: Callable[[str], None]) -> Archive:
    """Open a file of ``torch.save``.

    Args:
        file: its content; is kept open as long as storages are read.
        path: its path.
        accept: called with each name that the file refers to; raises for one it refuses.

    Raises:
        CheckpointError: if it is of another kind or damaged, or a name is refused.
    """
    start = file.read(_TAR[1] + len(_TAR[0]))
    file.seek(0)
    if start.startswith(_ZIP):
        return _ZipArchive(file, size=path.stat().st_size, accept=accept)
    if start[_TAR[1] :] == _TAR[0]:
        raise CheckpointError(
            "it is a tar archive of a PyTorch before 0.1.10, which is not read: load it with torch, "
            "and save its state dict again"
        )
    return _PickleRow(file, size=path.stat().st_size, accept=accept)


class _ZipArchive:
    """Since PyTorch 1.6: a zip archive of a pickle and one file for each storage."""

    def __init__(self, file: BinaryIO, *, size: int, accept: Callable[[str], None]) -> None:
        self._zip = zipfile.ZipFile(file)
        unpacked = sum(part.file_size for part in self._zip.infolist())
        if unpacked > _MAX_EXPANSION * size:
            raise CheckpointError(
                f"it unpacks to {unpacked:,} bytes, over {_MAX_EXPANSION} times its size"
            )
        names = self._zip.namelist()
        self._root = next((n.removesuffix("data.pkl") for n in names if _is_content(n)), None)
        if f"{self._root}constants.pkl" in names:
            raise CheckpointError("it is a TorchScript program, not a state dict")
        if self._root is None:
            raise CheckpointError("it is a zip archive without weights of PyTorch")
        order = f"{self._root}byteorder"
        self._is_swapped = order in names and self._zip.read(order) == b"big"
        data = self._zip.read(f"{self._root}data.pkl")
        unpickler = Unpickler(BytesIO(data), size=len(data), accept=accept)
        self.content, self.calls = unpickler.load(), unpickler.calls

    def read(self, storage: Storage) -> Tensor:
        try:
            part = self._zip.getinfo(f"{self._root}data/{storage.key}")
        except KeyError:
            raise CheckpointError(f"it lacks its storage {storage.key!r}") from None
        if part.file_size != storage.num_bytes:
            raise CheckpointError(
                f"its storage {storage.key!r} has {part.file_size} bytes, not {storage.num_bytes}"
            )
        with self._zip.open(part) as stream:
            raw = _bytes(stream, storage)
        if self._is_swapped:
            width = storage.dtype.itemsize // (2 if storage.dtype.is_complex else 1)
            raw = raw.view(-1, width).flip(1).reshape(-1)
        return raw


def _is_content(name: str) -> bool:
    return name == "data.pkl" or (name.endswith("/data.pkl") and name.count("/") == 1)


class _PickleRow:
    """Before PyTorch 1.6: pickles one after the other, then the storages."""

    def __init__(self, file: BinaryIO, *, size: int, accept: Callable[[str], None]) -> None:
        self._file, self._size, self._accept = file, size, accept
        if self._load() != _MAGIC or self._load() != _PROTOCOL:
            raise CheckpointError(DAMAGED)
        self._load()  # sizes of types on the machine that wrote it; its numbers are little-endian
        self.content = self._load()
        self.calls, externals = self._unpickler.calls, self._unpickler.externals
        storages = [storage_of(external)[0] for external in externals]
        self._places = self._find(self._load(), {item.key: item for item in storages})

    def _load(self) -> Any:
        self._unpickler = Unpickler(self._file, size=self._size, accept=self._accept)
        return self._unpickler.load()

    def _find(self, keys: Any, storages: dict[str, Storage]) -> dict[str, tuple[int, int]]:
        """Return where the bytes of each storage begin, and how many there are."""
        places = {}
        for key in keys:
            key = key.decode() if isinstance(key, bytes) else str(key)
            count = int.from_bytes(self._file.read(8), "little")
            place = self._file.tell()
            if key not in storages or count != storages[key].numel:
                raise CheckpointError(
                    f"its storage {key!r} has {count} numbers, unlike its tensors"
                )
            places[key] = place, storages[key].num_bytes
            if sum(places[key]) > self._size:
                raise CheckpointError(CUT)
            self._file.seek(sum(places[key]))
        return places

    def read(self, storage: Storage) -> Tensor:
        place, num_bytes = self._places.get(storage.key, (0, -1))
        if num_bytes != storage.num_bytes:
            raise CheckpointError(f"it lacks its storage {storage.key!r}")
        self._file.seek(place)
        return _bytes(self._file, storage)


def _bytes(stream: IO[bytes], storage: Storage) -> Tensor:
    """Read a storage; the caller knows that the file is as long."""
    raw = torch.empty(storage.num_bytes, dtype=torch.uint8)
    numbers, filled = raw.numpy(), 0
    while filled < len(numbers):
        data = stream.read(min(len(numbers) - filled, _CHUNK))
        if not data:
            raise CheckpointError(CUT)
        numbers[filled : filled + len(data)] = np.frombuffer(data, np.uint8)
        filled += len(data)
    return raw
