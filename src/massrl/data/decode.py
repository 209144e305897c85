"""Bytes to pixels: every image becomes uint8 RGB, every bad one a clear error.

OpenCV decodes nearly everything, because it is fastest. Pillow, which raises where OpenCV returns a
half-grey picture, decodes the few kinds that OpenCV gets wrong, and judges files that look damaged.
Healthy files are decoded once.

What cannot be told: wrong bits inside an otherwise complete JPEG decode to wrong blocks, in OpenCV
and in Pillow alike (libjpeg then says so on stderr by itself).
"""

from __future__ import annotations

import io
import os
import struct
import threading
import warnings
import zlib
from typing import NamedTuple

import cv2
import numpy as np

from massrl.errors import ImageError

MAX_PIXELS = 178_956_970  # Pillow's own limit: a picture of 0.5 GB once decoded
_PILLOW_LOCK = threading.Lock()  # warning filters belong to the process, not to the thread
_KEPT_PNG_CHUNKS = frozenset((b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND"))
_PNG_MODES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}
_JPEG_MODES = {1: "grey", 3: "RGB", 4: "CMYK"}
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start-of-frame markers
_TIFF_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}  # the integer field types, as struct writes them

if "OPENCV_LOG_LEVEL" not in os.environ:
    # Every failure becomes an ImageError; OpenCV would say it twice, and without the file's name.
    # OpenCV 5 moved the function.
    _logging = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
    _logging.setLogLevel(0)


class Header(NamedTuple):
    """What the first bytes of an image file promise.

    Attributes:
        format: ``"JPEG"``, ``"PNG"``, ``"WebP"``, ``"BMP"``, ``"TIFF"`` or ``"GIF"``.
        height: rows as stored, before any EXIF rotation.
        width: columns as stored.
        mode: how a pixel is stored, in words: ``"RGB"``, ``"grey 16-bit"``, ``"CMYK"``, …
        plain: whether OpenCV is known to read this kind right.
    """

    format: str
    height: int
    width: int
    mode: str
    plain: bool = True


def decode(
    encoded: bytes | np.ndarray, *, name: str = "image", max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Turn an image file's bytes, or an array, into pixels.

    The EXIF orientation is applied, alpha is dropped, 16 bits are scaled to 8, palettes and CMYK
    are converted, and of several frames the first is taken.

    Args:
        encoded: the whole file, or an already decoded uint8 array ``(H, W)``, ``(H, W, 1)`` or
            ``(H, W, 3)`` in RGB.
        name: path or identifier of the image, for the error.
        max_pixels: larger images are refused from their header, without being decoded.

    Returns:
        uint8 ``(H, W, 3)``, RGB, C-contiguous. An RGB array that already is so is returned itself.

    Raises:
        ImageError: if the image is empty, truncated, damaged, too large or not an image.
    """
    if isinstance(encoded, np.ndarray):
        return _from_array(encoded, name=name)
    encoded = bytes(encoded)
    header = read_header(encoded)
    if header is None:
        raise ImageError(name, _why_no_header(encoded))
    if header.height < 1 or header.width < 1:
        raise ImageError(name, f"damaged {header.format} file (no size in its header)")
    if header.height * header.width > max_pixels:
        size = f"{header.width} x {header.height} pixels"
        raise ImageError(name, f"too large: {size}, at most {max_pixels} pixels are decoded")
    image = _decode_with_opencv(encoded, header)
    if image is None:
        image = _decode_with_pillow(encoded, header, name=name)
    return image


def image_size(encoded: bytes) -> tuple[int, int] | None:
    """Height and width as stored (before EXIF rotation), from the header alone.

    Returns:
        ``(height, width)`` in pixels, or None where the bytes are no image that massrl reads.
    """
    header = read_header(encoded)
    return None if header is None else (header.height, header.width)


def read_header(encoded: bytes) -> Header | None:
    """Read format, size and kind of an image without decoding it; a few microseconds.

    Returns:
        The header, or None where the bytes are no image that massrl reads.
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
    """Walk the segments to the start-of-frame; look for the end-of-image behind it."""
    position = 2
    while (position := encoded.find(b"\xff", position)) >= 0:
        marker, length = struct.unpack_from(">BH", encoded, position + 1)
        if marker in _JPEG_FRAMES:
            height, width, channels = struct.unpack_from(">HHB", encoded, position + 5)
            # A truncated file lacks the end mark (a thumbnail's lies before the frame). OpenCV may
            # fill what is missing with grey and call it a success, so Pillow decides those.
            complete = encoded.rfind(b"\xff\xd9", position) >= 0
            mode = _JPEG_MODES.get(channels, f"{channels} channels")
            return Header("JPEG", height, width, mode, plain=complete)
        if marker in (0xFF, 0x00, 0x01) or 0xD0 <= marker <= 0xD8:  # padding, or no segment follows
            position += 1
        else:
            position += 2 + length
    return None


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
    return Header("BMP", abs(height), width, mode)  # a negative height only says "top row first"


def _tiff_header(encoded: bytes) -> Header | None:
    tags = _tiff_tags(encoded)
    if 256 not in tags or 257 not in tags:
        return None
    bits, photometric, channels = tags.get(258, 1), tags.get(262, 1), tags.get(277, 1)
    colours = {0: "grey", 1: "grey", 3: "palette", 5: "CMYK"}.get(photometric, "RGB")
    alpha = channels > {"RGB": 3, "CMYK": 4}.get(colours, 1)
    mode = colours + (" with alpha" if alpha else "") + (f" {bits}-bit" if bits > 8 else "")
    # OpenCV multiplies the colours of an 8-bit TIFF by its alpha; alpha is to be dropped.
    return Header("TIFF", tags[257], tags[256], mode, plain=bits > 8 or not alpha)


def _tiff_tags(encoded: bytes) -> dict[int, int]:
    """The first value of every integer tag of the first page (TIFF 6.0, section 2; or BigTIFF)."""
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


def _decode_with_opencv(encoded: bytes, header: Header) -> np.ndarray | None:
    """Decode, or return None where Pillow has to judge."""
    if not header.plain:
        return None
    if header.format == "PNG":
        cleaned = _clean_png(encoded)
        if cleaned is None:
            return None
        encoded = cleaned
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image)


def _clean_png(encoded: bytes) -> bytes | None:
    """Check a PNG's pixel data by its checksums and leave out what is not pixels.

    libpng prints to stderr by itself, about damaged data and about many a harmless colour profile.
    So damaged files never reach it, nor do the parts it complains of.

    Returns:
        The file to decode, or None if it is truncated or damaged.
    """
    view = memoryview(encoded)
    parts = [view[:8]]
    position, stripped = 8, False
    while position + 12 <= len(encoded):
        length, kind = struct.unpack_from(">I4s", encoded, position)
        end = position + 12 + length
        if end > len(encoded):
            return None
        if kind in _KEPT_PNG_CHUNKS:
            if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(
                view[end - 4 : end], "big"
            ):
                return None
            parts.append(view[position:end])
        else:
            stripped = True
        if kind == b"IEND":
            return b"".join(parts) if stripped else encoded
        position = end
    return None


def _decode_with_pillow(encoded: bytes, header: Header, *, name: str) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        with _PILLOW_LOCK, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata; what matters is raised
            with Image.open(io.BytesIO(encoded)) as opened:
                picture = ImageOps.exif_transpose(opened)
                deep = picture.mode.startswith("I")
                if picture.mode == "F":
                    raise ImageError(name, "floating-point samples; 8 or 16 bits are accepted")
                pixels = np.array(picture if deep else picture.convert("RGB"))
    except ImageError:
        raise
    except Exception as error:  # Pillow's plug-ins raise whatever their parsing met
        cause = str(error).partition("<")[0].split("\n")[0].strip() or type(error).__name__
        raise ImageError(name, f"truncated or damaged {header.format} file ({cause})") from None
    if deep:
        if pixels.min() < 0 or pixels.max() > 65535:
            raise ImageError(name, "32-bit samples; 8 or 16 bits are accepted")
        pixels = (pixels >> 8).astype(np.uint8)  # as OpenCV and libpng do; clipping would be white
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    return np.ascontiguousarray(pixels)


def _from_array(image: np.ndarray, *, name: str) -> np.ndarray:
    accepted = "uint8 (H, W), (H, W, 1) or (H, W, 3) is accepted"
    if image.dtype != np.uint8:
        raise ImageError(name, f"array of {image.dtype}; {accepted}")
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3) or image.size == 0:
        raise ImageError(name, f"array of shape {image.shape}; {accepted}")
    if image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    return np.ascontiguousarray(image)


def _why_no_header(encoded: bytes) -> str:
    if not encoded:
        return "empty file"
    accepted = "accepted: JPEG, PNG, WebP, BMP, TIFF, GIF"
    return f"not an image, or only the start of one (begins with {encoded[:12]!r}; {accepted})"
