"""Read format, size and kind of an image from its first bytes, without decoding it."""

from __future__ import annotations

import struct
from typing import NamedTuple

from massrl.images.tiff_page import Tags, is_tiff, read_page

_PNG_MODES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}
_JPEG_MODES = {1: "grey", 3: "RGB", 4: "CMYK"}
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start-of-frame markers
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_MAX_SEGMENTS = 10_000  # of a JPEG before its frame: 0.6 GB of notes, or as many filling bytes


class Header(NamedTuple):
    """Facts of an image file from its first bytes.

    Attributes:
        format: ``"JPEG"``, ``"PNG"``, ``"WebP"``, ``"BMP"``, ``"TIFF"`` or ``"GIF"``.
        height: rows as stored, before any EXIF rotation.
        width: columns as stored.
        mode: how a pixel is stored: ``"RGB"``, ``"grey 16-bit"``, ``"CMYK"``, …
        plain: whether OpenCV is known to decode this kind correctly.
        orientation: EXIF orientation, 1 to 8; read from JPEGs only.
        progressive: whether a JPEG may have any number of scans.
    """

    format: str
    height: int
    width: int
    mode: str
    plain: bool = True
    orientation: int = 1
    progressive: bool = False

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
        The header, or None if massrl cannot read such bytes as an image. Nothing is raised.
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
        if is_tiff(encoded):
            page = read_page(encoded)
            return page and Header("TIFF", page.height, page.width, page.mode, plain=False)
    except (struct.error, IndexError, OverflowError):  # the file ends inside its header
        return None
    return None


def _jpeg_header(encoded: bytes) -> Header | None:
    """Walk the segments to the start-of-frame; look for an end-of-image marker after it."""
    position, orientation = 2, 1
    for _ in range(_MAX_SEGMENTS):
        position = encoded.find(b"\xff", position)
        if position < 0:
            break
        marker, length = struct.unpack_from(">BH", encoded, position + 1)
        if marker in _JPEG_FRAMES:
            height, width, channels = struct.unpack_from(">HHB", encoded, position + 5)
            # A truncated file lacks the end marker (a thumbnail's is before the frame). OpenCV may fill
            # the missing part with grey without an error, so Pillow decodes such files.
            complete = encoded.rfind(b"\xff\xd9", position) >= 0
            mode = _JPEG_MODES.get(channels, f"{channels} channels")
            return Header(
                "JPEG", height, width, mode, complete, orientation, marker in _PROGRESSIVE
            )
        if marker == 0xE1 and encoded.startswith(b"Exif\0\0", position + 4):
            orientation = exif_orientation(encoded[position + 10 : position + 2 + length])
        if marker in (0xFF, 0x00, 0x01) or 0xD0 <= marker <= 0xD8:  # padding, or no segment follows
            position += 1
        else:
            position += 2 + length
    return None


def exif_orientation(exif: bytes) -> int:
    """Return the orientation in EXIF data, 1 to 8; 1 where there is none that can be read."""
    if not exif.startswith((b"II*\0", b"MM\0*")):
        return 1
    try:
        orientation = Tags(exif).one(0x112, 1)
    except (struct.error, OverflowError):  # the part ends inside its list of tags
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
