"""Read a PNG down to what its pixels need, and prove that they are all there.

libpng prints to stderr about anything odd: colour profiles, notes, damaged data. So it is given a file of
three or four chunks, whose data have been inflated here against their checksum, and are stored.

Source: PNG specification, third edition (W3C).
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

import cv2
import numpy as np

try:
    from massrl.images.codecs import unfilter
except ImportError:  # not built: OpenCV decodes, a third slower
    unfilter = None  # type: ignore[assignment]

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PASSES = (  # of Adam7: first row and column, distances of rows and columns
    *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)),
    *((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
)


class PngError(Exception):
    """A PNG that is truncated or damaged; its message says where."""


class Png(NamedTuple):
    """What is needed of a PNG.

    Attributes:
        header: its chunk of that name.
        palette: likewise; empty if it has none.
        data: inflated: rows with their filters.
        exif: its notes, or nothing.
    """

    header: bytes
    palette: bytes
    data: bytes
    exif: bytes

    def content(self) -> bytes:
        """Return a PNG of header, palette and data alone, not compressed."""
        chunks = [(b"IHDR", self.header), (b"PLTE", self.palette)]
        chunks += [(b"IDAT", zlib.compress(self.data, 0))]
        parts = [_chunk(kind, body) for kind, body in chunks if body]
        return b"".join((b"\x89PNG\r\n\x1a\n", *parts, _chunk(b"IEND", b"")))

    def pixels(self) -> np.ndarray | None:
        """Return uint8 ``(H, W, 3)``, RGB, without alpha; None of other depths than 8, and interlaced."""
        width, height, depth, colour, *_, interlaced = struct.unpack(">IIBBBBB", self.header)
        if unfilter is None or depth != 8 or interlaced:
            return None
        channels = _CHANNELS[colour]
        samples = np.empty((height, width, channels), np.uint8)
        unfilter(self.data, samples, width * channels, channels)
        if colour == 3:
            palette = np.zeros((256, 3), np.uint8)  # libpng too shows black for what it lacks
            palette[: len(self.palette) // 3] = np.frombuffer(self.palette, np.uint8).reshape(-1, 3)
            return palette[samples[..., 0]]
        if colour in (0, 4):
            grey = np.ascontiguousarray(samples[..., 0])
            return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB))
        return samples if colour == 2 else np.asarray(cv2.cvtColor(samples, cv2.COLOR_RGBA2RGB))


def read_png(encoded: bytes, *, max_bytes: int) -> Png:
    """Check a PNG and return what is needed of it.

    Args:
        encoded: the file.
        max_bytes: that its pixels may take, as they are stored.

    Raises:
        PngError: if its header or palette is wrong, its data are not complete or fail their checksum, or
            take more than ``max_bytes``.
    """
    chunks = _read_chunks(encoded)
    header, palette = chunks.get(b"IHDR", b""), chunks.get(b"PLTE", b"")
    if len(header) != 13:
        raise PngError("no header")
    width, height, depth, colour, *methods = struct.unpack(">IIBBBBB", header)
    if depth not in _DEPTHS.get(colour, ()) or methods[:2] != [0, 0] or methods[2] > 1:
        raise PngError("its header has values that no PNG has")
    if colour == 3 and (not palette or len(palette) % 3 or len(palette) > 3 << depth):
        raise PngError("its palette is missing or of a wrong size")
    parts = _parts(width, height, depth * _CHANNELS[colour], interlaced=bool(methods[2]))
    size = sum(rows * (1 + row_bytes) for rows, row_bytes in parts)
    if size > max_bytes:
        raise PngError(f"too large: {size} bytes of pixels, at most {max_bytes} are decoded")
    data = _inflate(chunks.get(b"IDAT", b""), size)
    _check_filters(data, parts)
    return Png(header, palette if colour == 3 else b"", data, chunks.get(b"eXIf", b""))


def _read_chunks(encoded: bytes) -> dict[bytes, bytes]:
    """Return the first chunk of each kind, and all data joined, as far as the file goes."""
    chunks: dict[bytes, bytes] = {}
    data: list[bytes] = []
    position = 8
    while position + 8 <= len(encoded):
        length, kind = struct.unpack_from(">I4s", encoded, position)
        body = encoded[position + 8 : position + 8 + length]
        if kind == b"IDAT":
            data.append(body)
        elif kind in (b"IHDR", b"PLTE", b"eXIf"):
            checksum = encoded[position + 8 + length : position + 12 + length]
            right = zlib.crc32(body, zlib.crc32(kind)).to_bytes(4, "big") == checksum
            if right:
                chunks.setdefault(kind, body)
            elif kind != b"eXIf":
                raise PngError(f"wrong checksum of {kind.decode()}")
        elif kind == b"IEND":
            break
        position += 12 + length
    return chunks | {b"IDAT": b"".join(data)}


def _parts(width: int, height: int, bits: int, *, interlaced: bool) -> list[tuple[int, int]]:
    """Return rows, and bytes of a row, of the picture or of its seven passes."""
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    sizes = [
        (-(-(height - top) // down), -(-(width - left) // across))
        for top, left, down, across in passes
    ]
    return [(rows, -(-columns * bits // 8)) for rows, columns in sizes if rows > 0 and columns > 0]


def _inflate(data: bytes, size: int) -> bytes:
    """Inflate exactly so many bytes, whose checksum is right."""
    inflater = zlib.decompressobj()
    try:
        pixels = inflater.decompress(data, size + 1)
        if len(pixels) == size:  # the checksum is behind them
            pixels += inflater.decompress(inflater.unconsumed_tail, 1)
    except zlib.error as error:
        raise PngError(str(error)) from None
    if len(pixels) < size:
        raise PngError(f"{len(pixels)} of {size} bytes of pixels")
    if len(pixels) > size or not inflater.eof:
        raise PngError("its data do not end where its pixels do")
    return pixels


def _check_filters(data: bytes, parts: list[tuple[int, int]]) -> None:
    start, samples = 0, np.frombuffer(data, np.uint8)
    for rows, row_bytes in parts:
        end = start + rows * (1 + row_bytes)
        if samples[start : end : 1 + row_bytes].max(initial=0) > 4:
            raise PngError("unknown filter of a row")
        start = end


def _chunk(kind: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(body, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(body)), kind, body, struct.pack(">I", checksum)))
