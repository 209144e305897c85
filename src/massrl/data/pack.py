"""Packs images into the tar files that ``packed`` reads."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import NamedTuple

import cv2
import numpy as np
from safetensors.numpy import save

from massrl.data.source import Source
from massrl.data.sources.folders import PackedNames
from massrl.data.sources.packed import index_path
from massrl.errors import DataError, ImageError
from massrl.files import write_atomically
from massrl.images.decode import decode
from massrl.images.header import read_header

logger = logging.getLogger("massrl")

_SUFFIXES = {"JPEG": ".jpg"}  # of the others, the format's name in lower case


class Recoding(NamedTuple):
    """How images are made smaller before they are packed.

    Attributes:
        short_side: images with a longer short side are shrunk to it, antialiased, pixels.
        quality: quality of the JPEG they become, 1 to 100.
    """

    short_side: int
    quality: int


def pack(
    source: Source,
    out: Path,
    *,
    shard_bytes: int = 256 << 20,
    recoding: Recoding | None = None,
    skip_broken: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[int, int]:
    """Pack all images of a source, in their order.

    Args:
        source: the images.
        out: folder and beginning of the names of what is written.
        shard_bytes: a shard is closed once it holds so many bytes.
        recoding: makes images smaller; ``None`` keeps every file as it is.
        skip_broken: leave out an image that cannot be read or decoded instead of stopping at it.
        progress: called with (done, total).

    Returns:
        Images packed, and images left out.

    Raises:
        DataError: if the set, or a part of one, is there already, or it cannot be written.
        ImageError: at a broken image.
    """
    index = index_path(f"{out}-*.tar")
    if index.exists():
        raise DataError(f"{index} is there already: another name is wanted")
    left = [
        path
        for pattern in (f"{out.name}-?????.tar", f".{out.name}-?????.tar.*.part")
        for path in sorted(out.parent.glob(pattern))
    ]
    if left:
        raise DataError(
            f"{left[0]} and {len(left) - 1} more, down to {left[-1].name}, are of a packing that was not "
            f"finished: delete them, or take another name"
        )
    rows: list[tuple[int, int, int, int]] = []  # shard, offset, size, label
    names: list[str] = []
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with _Shards(out, shard_bytes) as shards:
            for number in range(len(source)):
                try:
                    content, suffix = _content(source, number, recoding)
                except ImageError as error:
                    if not skip_broken:
                        reason = f"{error.reason} (--on_error skip leaves such images out)"
                        raise ImageError(error.name, reason) from None
                    logger.warning("left out: %s", error)
                    continue
                label = -1 if source.labels is None else int(source.labels[number])
                place = shards.add(f"{number:09}", content, suffix, label)
                rows.append((*place, len(content), label))
                names.append(_name(source, number))
                if progress is not None:
                    progress(number + 1, len(source))
            shards.close()
        if not rows:
            raise DataError(f"{source.name} has no image that can be packed")
        sizes = {name: out.with_name(name).stat().st_size for name in shards.names}
        _write_index(index, source, rows, names, sizes)
    except OSError as error:
        raise DataError(f"cannot write {out}: {error.strerror}") from None
    return len(rows), len(source) - len(rows)


class _Shards:
    """Tar files one after another, of which each bears its name only when it is whole."""

    def __init__(self, out: Path, shard_bytes: int) -> None:
        self.names: list[str] = []
        self._out = out
        self._shard_bytes = shard_bytes
        self._tar: tarfile.TarFile | None = None

    def add(self, key: str, content: bytes, suffix: str, label: int) -> tuple[int, int]:
        """Append an image and its class; the number of its shard, and where its bytes begin."""
        if self._tar is None:
            self.names.append(f"{self._out.name}-{len(self.names):05}.tar")
            self._tar = tarfile.open(self._part(), mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        tar = self._tar
        place = len(self.names) - 1, tar.offset + tarfile.BLOCKSIZE  # behind a header of one block
        _append(tar, key + suffix, content)
        if label >= 0:
            _append(tar, f"{key}.cls", str(label).encode())
        if tar.offset >= self._shard_bytes:
            self.close()
        return place

    def close(self) -> None:
        """Give the shard that is open its name."""
        if self._tar is not None:
            self._tar.close()
            self._tar = None
            with self._part().open("rb") as file:
                os.fsync(file.fileno())
            whole = self._out.with_name(self.names[-1])
            if whole.exists():
                raise DataError(f"{whole} is there already: another packing has made it meanwhile")
            self._part().replace(whole)

    def __enter__(self) -> _Shards:
        return self

    def __exit__(self, *reason: object) -> None:
        if self._tar is not None:  # something went wrong: a part that is not whole is of no use
            with contextlib.suppress(OSError):
                self._tar.close()  # on a full disk it fails again, which is being told already
            self._part().unlink(missing_ok=True)

    def _part(self) -> Path:
        return self._out.with_name(f".{self.names[-1]}.{os.getpid()}.part")


def _append(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _content(source: Source, number: int, recoding: Recoding | None) -> tuple[bytes, str]:
    """The bytes to pack, and the suffix of their format; the image is decoded to see that it can be."""
    image = source.read(number)
    pixels = decode(image, name=source.describe(number))
    if isinstance(image, np.ndarray):
        return _encoded(image, ".png"), ".png"  # exact, as the source's pixels are
    if recoding is not None and min(pixels.shape[:2]) > recoding.short_side:
        shrunk = _shrunk(pixels, recoding.short_side)
        return _encoded(shrunk, ".jpg", cv2.IMWRITE_JPEG_QUALITY, recoding.quality), ".jpg"
    header = read_header(image)
    assert header is not None  # or it could not have been decoded
    return image, _SUFFIXES.get(header.format, f".{header.format.lower()}")


def _shrunk(image: np.ndarray, short_side: int) -> np.ndarray:
    scale = short_side / min(image.shape[:2])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))


def _encoded(image: np.ndarray, suffix: str, *options: int) -> bytes:
    encoded: bytes = cv2.imencode(suffix, image[:, :, ::-1], options)[1].tobytes()
    return encoded


def _name(source: Source, number: int) -> str:
    """The name that a folder's fingerprint counts, else what a message calls the image."""
    names = getattr(source, "names", None)
    return str(names[number]) if names is not None else PurePath(source.describe(number)).name


def _write_index(
    path: Path,
    source: Source,
    rows: list[tuple[int, int, int, int]],
    names: list[str],
    sizes: dict[str, int],
) -> None:
    shard, offset, size, labels = np.array(rows, np.int64).T
    block, ends = PackedNames(names).parts()
    columns = {
        "shard": shard.astype(np.int32),
        "offset": offset.copy(),
        "size": size.copy(),
        "labels": labels.copy(),
        "names": np.frombuffer(block, np.uint8),
        "ends": ends,
    }
    about = {
        "name": source.name,
        "class_names": source.class_names,
        "shards": sizes,
        "mean": source.normalization.mean,
        "std": source.normalization.std,
    }
    content = save(columns, metadata={"massrl": json.dumps(about)})
    write_atomically(path, lambda file: file.write(content))
