"""Pack images into tar shards, which ``data.sources.packed`` reads."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import NamedTuple

import cv2
import numpy as np
from safetensors.numpy import save

from massrl.data.pack_journal import PackJournal
from massrl.data.source import Source
from massrl.data.sources.packed import index_path
from massrl.data.sources.string_array import StringArray
from massrl.errors import DataError, ImageError, counted
from massrl.files import write_atomically
from massrl.images.decode import decode
from massrl.images.header import read_header
from massrl.images.reading import read_image

logger = logging.getLogger("massrl")

_SUFFIXES = {"JPEG": ".jpg"}  # others: the format's name in lower case


class Recoding(NamedTuple):
    """How large images are shrunk and re-encoded before they are packed.

    Attributes:
        short_side: in pixels; images with a longer short side are shrunk to it, antialiased.
        quality: of the JPEGs that shrunk images become, 1 to 100.
    """

    short_side: int
    quality: int


class _Row(NamedTuple):
    """Where an image of the source is packed, and what it is."""

    number: int
    shard: int
    offset: int
    size: int
    label: int
    name: str


def pack(
    source: Source,
    out: Path,
    *,
    shard_bytes: int = 256 << 20,
    recoding: Recoding | None = None,
    skip_broken: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[int, int]:
    """Pack all images of a source, in their order; a packing that was stopped goes on.

    Args:
        source: the images.
        out: folder and beginning of the names of the files to write.
        shard_bytes: size at which a shard is closed.
        recoding: shrinks large images; ``None`` packs every file unchanged.
        skip_broken: skip an image that cannot be read or decoded instead of stopping at it.
        overwrite: replace an earlier packing, whether it was finished or not, and files of its names.
        progress: called with the numbers of images done and in all.

    Returns:
        Number of images packed, and of images skipped.

    Raises:
        DataError: if files of that name exist already, or they cannot be written.
        ImageError: at a broken image.
    """
    settings = {
        "images": source.fingerprint(),
        "shard_bytes": shard_bytes,
        "recoding": list(recoding) if recoding else None,
    }
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with PackJournal(out, settings, overwrite=overwrite) as journal:
            rows, done = _packed_rows(journal, source)
            if not skip_broken:  # the packing that goes on may have skipped some
                for number in sorted({*range(done)} - {row.number for row in rows}):
                    _read(source, number, recoding=recoding, skip_broken=False)
            with _Shards(journal, shard_bytes) as shards:
                for number in range(done, len(source)):
                    encoded = _read(source, number, recoding=recoding, skip_broken=skip_broken)
                    if encoded is not None:
                        content, suffix = encoded
                        rows.append(shards.add(source, number, content=content, suffix=suffix))
                    if progress is not None:
                        progress(number + 1, len(source))
                shards.close(done=len(source))
            if not rows:
                raise DataError(f"{source.name} has no image that can be packed")
            _write_index(index_path(f"{out}-*.tar"), source, rows=rows, sizes=journal.sizes)
            journal.finish()
    except OSError as error:
        raise DataError(f"cannot write {out}: {error.strerror}") from None
    return len(rows), len(source) - len(rows)


def _packed_rows(journal: PackJournal, source: Source) -> tuple[list[_Row], int]:
    """Return what the complete shards of a stopped packing hold, and the number of images done."""
    rows = []
    for shard, name in enumerate(journal.sizes):
        with tarfile.open(journal.path(name)) as tar:
            for member in tar:
                key, _, suffix = member.name.partition(".")
                if suffix != "cls":
                    place = (shard, member.offset_data, member.size)
                    rows.append(_row(source, int(key), *place))
    if rows:
        logger.info("going on after %s of a packing that was stopped", counted(len(rows), "image"))
    return rows, journal.done


def _row(source: Source, number: int, shard: int, offset: int, size: int) -> _Row:
    label = -1 if source.labels is None else int(source.labels[number])
    return _Row(number, shard, offset, size, label, _name(source, number))


class _Shards:
    """Tar files, one after another; each gets its name only when it is complete."""

    def __init__(self, journal: PackJournal, shard_bytes: int) -> None:
        self._journal = journal
        self._shard_bytes = shard_bytes
        self._tar: tarfile.TarFile | None = None

    def add(self, source: Source, number: int, *, content: bytes, suffix: str) -> _Row:
        """Append the content of a source's image, and its class."""
        if self._tar is None:
            part = self._journal.next_part
            self._tar = tarfile.open(part, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        tar = self._tar
        offset = tar.offset + tarfile.BLOCKSIZE  # behind a header of one block
        row = _row(source, number, len(self._journal.sizes), offset, len(content))
        key = f"{number:09}"
        _append(tar, key + suffix, content)
        if row.label >= 0:
            _append(tar, f"{key}.cls", str(row.label).encode())
        if tar.offset >= self._shard_bytes:
            self.close(done=number + 1)
        return row

    def close(self, *, done: int) -> None:
        """Complete the open shard, if there is one; ``done`` images of the source are dealt with."""
        if self._tar is not None:
            self._tar.close()
            self._tar = None
            self._journal.complete(done)

    def __enter__(self) -> _Shards:
        return self

    def __exit__(self, *reason: object) -> None:
        if self._tar is not None:  # an error: an incomplete shard is of no use
            with contextlib.suppress(OSError):
                self._tar.close()  # on a full disk it fails again, and the first error is raised already
            self._journal.next_part.unlink(missing_ok=True)


def _append(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _read(
    source: Source, number: int, *, recoding: Recoding | None, skip_broken: bool
) -> tuple[bytes, str] | None:
    """Return content and suffix of an image; None if it is broken and to be skipped."""
    try:
        return _encode(source, number, recoding=recoding)
    except ImageError as error:
        if not skip_broken:
            reason = f"{error.reason} (--on_error skip leaves such images out)"
            raise ImageError(error.name, reason) from None
        logger.warning("skipped: %s", error)
        return None


def _encode(source: Source, number: int, *, recoding: Recoding | None) -> tuple[bytes, str]:
    """Return the bytes to pack and their suffix; the image is decoded to see whether it is broken."""
    image = read_image(source, number)
    pixels = decode(image, name=source.describe(number))
    if isinstance(image, np.ndarray):
        return _to_bytes(image, ".png"), ".png"  # lossless, as the source's pixels are
    if recoding is not None and min(pixels.shape[:2]) > recoding.short_side:
        shrunk = _shrink(pixels, recoding.short_side)
        return _to_bytes(shrunk, ".jpg", cv2.IMWRITE_JPEG_QUALITY, recoding.quality), ".jpg"
    header = read_header(image)
    assert header is not None  # or it could not have been decoded
    return image, _SUFFIXES.get(header.format, f".{header.format.lower()}")


def _shrink(image: np.ndarray, short_side: int) -> np.ndarray:
    scale = short_side / min(image.shape[:2])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))


def _to_bytes(image: np.ndarray, suffix: str, *options: int) -> bytes:
    encoded: bytes = cv2.imencode(suffix, image[:, :, ::-1], options)[1].tobytes()
    return encoded


def _name(source: Source, number: int) -> str:
    """Return the image's name in its folder, which the fingerprint contains, else that of messages."""
    names = getattr(source, "names", None)
    return str(names[number]) if names is not None else PurePath(source.describe(number)).name


def _write_index(path: Path, source: Source, *, rows: list[_Row], sizes: dict[str, int]) -> None:
    block, ends = StringArray([row.name for row in rows]).parts()
    columns: dict[str, np.ndarray] = {
        "shard": np.array([row.shard for row in rows], np.int32),
        "offset": np.array([row.offset for row in rows], np.int64),
        "size": np.array([row.size for row in rows], np.int64),
        "labels": np.array([row.label for row in rows], np.int64),
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
