"""JPEGs in the strips or tiles of a TIFF (Adobe, TIFF Technical Note 2)."""

from __future__ import annotations

import numpy as np

from massrl.images.header import read_header
from massrl.images.jpeg import JpegError, UnusualJpegError, decode_jpeg
from massrl.images.tiff_page import Segment, Tags, TiffPage

# Says whether three channels are RGB, which is also how grey is decoded, or YCbCr.
_ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"


def decode_tiff_jpegs(encoded: bytes, page: TiffPage, segments: list[Segment]) -> np.ndarray:
    """Decode strips or tiles of grey, RGB or YCbCr to uint8 ``(H, W, 3)``, RGB, not turned.

    Raises:
        JpegError: if libjpeg complains about one of them, or it is none of its size.
    """
    tables = Tags(encoded).bytes(347)
    height, width = page.tile
    across = -(-page.width // width)
    pixels = np.empty((page.height, page.width, 3), np.uint8)
    for number, segment in enumerate(segments):
        top, left = number // across * height, number % across * width
        place = pixels[top : top + height, left : left + width]
        data = encoded[segment.offset : segment.offset + segment.length]
        try:
            part = _decode(data, tables, page)
        except (JpegError, UnusualJpegError) as error:
            kind = "tile" if page.tiled else "strip"
            raise JpegError(f"{kind} {number + 1} of {len(segments)} is damaged: {error}") from None
        if part.shape[0] < place.shape[0] or part.shape[1] != width:
            raise JpegError(f"strip or tile {number + 1} has a JPEG of another size")
        place[:] = part[: place.shape[0], : place.shape[1]]
    return pixels


def _decode(data: bytes, tables: bytes, page: TiffPage) -> np.ndarray:
    shared = tables[2:-2] if tables.startswith(b"\xff\xd8") else b""
    transform = b"\1" if page.colours == "YCbCr" else b"\0"
    whole = b"\xff\xd8" + shared + data[2:]
    if page.colours == "RGB":  # a note that says YCbCr would count for more
        whole = whole.replace(b"JFIF\0", b"none\0", 1)
    whole = whole[:2] + _ADOBE + transform + whole[2:]
    header = read_header(whole)
    fits = header is not None and header.height <= page.tile[0] and header.width <= page.tile[1]
    if header is None or not fits or header.mode != ("grey" if page.colours == "grey" else "RGB"):
        raise JpegError("no JPEG of its size and colours")
    return decode_jpeg(whole, reduction=1, size=(header.height, header.width))
