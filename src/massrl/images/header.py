"""Read format, size and kind of an image from its first bytes, without decoding it."""

from __future__ import annotations

import struct
from typing import NamedTuple

_PNG_MODES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}
_JPEG_MODES = {1: "grey", 3: "RGB", 4: "CMYK"}
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start-of-frame markers
_TIFF_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}  # the integer field types, as struct writes them


class Header(NamedTuple):
    """Facts of an image file from its first bytes.

    Attributes:
        format: ``"JPEG"``, ``"PNG"``, ``"WebP"``, ``"BMP"``, ``"TIFF"`` or ``"GIF"``.
        height: rows as stored, before any EXIF rotation.
        width: columns as stored.
        mode: how a pixel is stored: ``"RGB"``, ``"grey 16-bit"``, ``"CMYK"``, …
        plain: whether OpenCV is known to decode this kind correctly.
        orientation: EXIF orientation, 1 to 8; read from JPEGs only.
    """

    format: str
    height: int
    width: int
    mode: str
    plain: bool = True
    orientation: int = 1

    @property
    def upright(self) -> tuple[int, int]:
        """Height and width once the EXIF orientation has been applied."""
        turned = self.orientation in (5, 6, 7, 8)
        return (self.width, self.height) if turned else (self.height, self.width)


def image_size(encoded: bytes) -> tuple[int, int] | None:
    """Return height and width as stored (before EXIF rotation), from the header alone.

    Returns:
        ``(height, width)`` in pixels, or None if massrl cannot read such bytes as an image.
    """
    header = read_header(encoded)
    return None if header is None else (header.height, header.width)


def read_header(encoded: bytes) -> Header | None:
    """Read format, size and kind of an image without decoding it; a few microseconds.

    Returns:
        The header, or None if massrl cannot read such bytes as an image.
    """
    try:
        if encoded.startswith(b"\xff\xd8\xff"):
            return _jpeg_header(encoded)
        if encoded.startswith(b"\x89PNG\r\n\x1a\n"):
            width, height, depth, colour = struct.unpack_from(">IIBB", encoded, 16)
            mode = _PNG_MODES.get(colour, "unknown") + (" 16-bit" if depth == 16 else "")
            return Header("PNG", height, width, mode)
        if encoded.startswith(b"RIFF") and encoded[8:12] == b"WEBP":
            return _webp_header(encoded)
        if encoded.startswith((b"GIF87a", b"GIF89a")):
            width, height = struct.unpack_from("<HH", encoded, 6)
            return Header("GIF", height, width, "palette", plain=False)
        if encoded.startswith(b"BM"):
            return _bmp_header(encoded)
        if encoded.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
            return _tiff_header(encoded)
    except struct.error:  # the file ends inside its header
        return None
    return None


def _jpeg_header(encoded: bytes) -> Header | None:
    """Walk the segments to the start-of-frame; look for an end-of-image marker after it."""
    position, orientation = 2, 1
    while (position := encoded.find(b"\xff", position)) >= 0:
        marker, length = struct.unpack_from(">BH", encoded, position + 1)
        if marker in _JPEG_FRAMES:
            height, width, channels = struct.unpack_from(">HHB", encoded, position + 5)
            # A truncated file lacks the end marker (a thumbnail's is before the frame). OpenCV may fill
            # the missing part with grey without an error, so Pillow decodes such files.
            complete = encoded.rfind(b"\xff\xd9", position) >= 0
            mode = _JPEG_MODES.get(channels, f"{channels} channels")
            return Header("JPEG", height, width, mode, complete, orientation)
        if marker == 0xE1 and encoded.startswith(b"Exif\0\0", position + 4):
            orientation = _exif_orientation(encoded[position + 10 : position + 2 + length])
        if marker in (0xFF, 0x00, 0x01) or 0xD0 <= marker <= 0xD8:  # padding, or no segment follows
            position += 1
        else:
            position += 2 + length
    return None


def _exif_orientation(exif: bytes) -> int:
    if not exif.startswith((b"II*\0", b"MM\0*")):
        return 1
    try:
        orientation = _tiff_tags(exif).get(0x112, 1)
    except struct.error:  # the part ends inside its list of tags
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def _webp_header(encoded: bytes) -> Header | None:
    kind = encoded[12:16]
    if kind == b"VP8X":
        flags = encoded[20]
        width = 1 + int.from_bytes(encoded[24:27], "little")
        height = 1 + int.from_bytes(encoded[27:30], "little")
        # OpenCV before 5 ignores the orientation in a WebP's EXIF part (flag 8).
        return Header("WebP", height, width, "RGBA" if flags & 16 else "RGB", plain=not flags & 8)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", encoded, 26)
        return Header("WebP", height & 0x3FFF, width & 0x3FFF, "RGB")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", encoded, 21)
        mode = "RGBA" if bits >> 28 & 1 else "RGB"
        return Header("WebP", (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1, mode)
    return None


def _bmp_header(encoded: bytes) -> Header:
    (size,) = struct.unpack_from("<I", encoded, 14)
    if size == 12:  # the header of OS/2
        width, height, _, bits = struct.unpack_from("<HHHH", encoded, 18)
    else:
        width, height, _, bits = struct.unpack_from("<iiHH", encoded, 18)
    mode = "palette" if bits <= 8 else "RGBA" if bits == 32 else "RGB"
    return Header("BMP", abs(height), width, mode)  # a negative height means "top row first"


def _tiff_header(encoded: bytes) -> Header | None:
    tags = _tiff_tags(encoded)
    if 256 not in tags or 257 not in tags:
        return None
    bits, photometric, channels = tags.get(258, 1), tags.get(262, 1), tags.get(277, 1)
    colours = {0: "grey", 1: "grey", 3: "palette", 5: "CMYK"}.get(photometric, "RGB")
    alpha = channels > {"RGB": 3, "CMYK": 4}.get(colours, 1)
    mode = colours + (" with alpha" if alpha else "") + (f" {bits}-bit" if bits > 8 else "")
    mode += " floating-point" if tags.get(339) == 3 else ""
    # OpenCV multiplies the colours of an 8-bit TIFF by its alpha; alpha is to be dropped.
    return Header("TIFF", tags[257], tags[256], mode, plain=bits > 8 or not alpha)


def _tiff_tags(encoded: bytes) -> dict[int, int]:
    """Return the first value of every integer tag of the first page (TIFF 6.0, section 2; BigTIFF)."""
    order = "<" if encoded[:1] == b"I" else ">"
    big = encoded[2:4] in (b"+\0", b"\0+")
    (start,) = struct.unpack_from(order + ("Q" if big else "I"), encoded, 8 if big else 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), encoded, start)
    entry = struct.Struct(order + ("HHQ" if big else "HHI"))
    step, first, room = (20, 8, 8) if big else (12, 2, 4)
    tags = {}
    for number in range(min(count, 4096)):
        position = start + first + number * step
        tag, kind, length = entry.unpack_from(encoded, position)
        if kind not in _TIFF_TYPES or not length:
            continue
        value = position + entry.size
        if length * struct.calcsize("=" + _TIFF_TYPES[kind]) > room:  # the entry holds an offset
            (value,) = struct.unpack_from(order + ("Q" if big else "I"), encoded, value)
        if value < len(encoded):
            tags[tag] = struct.unpack_from(order + _TIFF_TYPES[kind], encoded, value)[0]
    return tags
