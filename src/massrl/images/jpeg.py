"""Decode JPEGs with libjpeg-turbo, and hear its complaints.

libjpeg goes on where data are damaged: it prints a warning to stderr and returns grey or wrong blocks.
OpenCV and Pillow do not pass that warning on. simplejpeg raises it, and prints nothing.
"""

from __future__ import annotations

import re
import struct

import cv2
import numpy as np
import simplejpeg

_BEFORE_MARKER = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_KEPT = frozenset((0xC4, 0xCC, 0xDB, 0xDD)) | frozenset(range(0xC0, 0xD0))  # tables and frame
_SEQUENTIAL = frozenset((0xC0, 0xC1, 0xC3, 0xC9))  # frames of one pass
_MAX_SEGMENTS = 10_000  # of a header; every one is 64 kB at most
_UNKNOWN_SAMPLING = "subsampling type"  # simplejpeg only knows the usual ratios of colour to grey


class JpegError(Exception):
    """A JPEG that libjpeg complains about; its message is libjpeg's."""


class UnusualJpegError(Exception):
    """A JPEG of a kind that simplejpeg does not decode."""


def decode_jpeg(encoded: bytes, *, reduction: int, size: tuple[int, int]) -> np.ndarray:
    """Decode a grey or colour JPEG; raise whatever libjpeg complains about.

    Complaints about parts that hold no picture, such as bytes between two segments or an odd version
    number, do not count: then a copy without those parts is decoded, and must raise none.

    Args:
        encoded: the whole file.
        reduction: 1, 2, 4 or 8: how many times smaller it is decoded, sides rounded up.
        size: height and width in the header.

    Returns:
        uint8 ``(height, width, 3)``, RGB, not turned.

    Raises:
        JpegError: if libjpeg complains.
        UnusualJpegError: if simplejpeg does not decode such a kind.
    """
    try:
        return _decode(encoded, "RGB", reduction, size)
    except JpegError as error:
        cleaned = clean_jpeg(encoded, padding=_padding(str(error)))
        if cleaned is None:
            raise
        return _decode(cleaned, "RGB", reduction, size)


def check_jpeg(encoded: bytes, *, size: tuple[int, int], mode: str) -> None:
    """Decode a JPEG, and raise whatever libjpeg complains about.

    Args:
        encoded: the whole file.
        size: height and width in the header.
        mode: of the header.

    Raises:
        JpegError: if libjpeg complains.
        UnusualJpegError: if simplejpeg does not decode such a kind.
    """
    if mode not in ("grey", "RGB", "CMYK"):
        raise UnusualJpegError(mode)
    _decode(encoded, "CMYK" if mode == "CMYK" else "GRAY", 1, size)


def count_scans(encoded: bytes) -> int:
    """Return the number of scans, including those of thumbnails; a progressive JPEG has some ten."""
    return encoded.count(b"\xff\xda")


def _decode(encoded: bytes, colours: str, reduction: int, size: tuple[int, int]) -> np.ndarray:
    height, width = (-(-side // reduction) for side in size)
    try:
        return np.asarray(
            simplejpeg.decode_jpeg(
                encoded, colours, min_height=height, min_width=width, min_factor=reduction
            )
        )
    except ValueError as error:
        if _UNKNOWN_SAMPLING in str(error):
            raise UnusualJpegError(str(error)) from None
        raise JpegError(str(error)) from None


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn pixels ``(H, W, …)`` upright that are stored in an EXIF orientation of 1 to 8."""
    if orientation in (5, 6, 7, 8):
        pixels = cv2.transpose(pixels)
    across, down = orientation in (2, 3, 6, 7), orientation in (3, 4, 7, 8)
    if across or down:
        pixels = cv2.flip(pixels, -1 if across and down else int(across))
    return pixels


def _padding(complaint: str) -> int:
    """Return how many bytes libjpeg met between the picture's data and the end marker."""
    found = _BEFORE_MARKER.search(complaint)
    return int(found[1]) if found else 0


def clean_jpeg(encoded: bytes, *, padding: int = 0) -> bytes | None:
    """Return a JPEG without what libjpeg complains about in parts that hold no picture.

    Segments that are not needed for the pixels, bytes between segments, an unknown colour transform and
    odd parameters of a scan are left out or set right, and ``padding`` equal bytes before the end marker
    are left out.

    Returns:
        The copy, or None if the header cannot be read, or if the bytes before the end are no padding.
    """
    parts, position, frame = [b"\xff\xd8"], 2, 0
    for _ in range(_MAX_SEGMENTS):
        position = encoded.find(b"\xff", position)
        if position < 0 or position + 4 > len(encoded):
            return None
        marker, length = struct.unpack_from(">BH", encoded, position + 1)
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9:
            position += 1
            continue
        segment = bytearray(encoded[position : position + 2 + length])
        position += 2 + length
        if marker == 0xDA:
            if frame in _SEQUENTIAL - {0xC3} and len(segment) > 7:
                segment[-3:] = b"\x00\x3f\x00"
            data = _without_padding(encoded[position:], padding)
            return None if data is None else b"".join((*parts, segment, data))
        if marker == 0xE0 and segment[4:9] == b"JFIF\0":
            segment = bytearray(b"\xff\xe0\x00\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0")
        elif marker == 0xEE and segment[4:9] == b"Adobe" and len(segment) >= 16:
            segment[15] = min(segment[15], 2)
        elif marker not in _KEPT:
            continue
        if marker in _KEPT and marker not in (0xC4, 0xCC, 0xDB, 0xDD):
            frame = marker
        parts.append(bytes(segment))
    return None


def _without_padding(data: bytes, count: int) -> bytes | None:
    """Leave out bytes before the end marker, if they are all the same zeros or ones."""
    if not count:
        return data
    end = data.rfind(b"\xff\xd9")
    padding = data[max(0, end - count) : max(0, end)]
    if padding in (bytes(count), b"\xff" * count):
        return data[: end - count] + data[end:]
    return None
