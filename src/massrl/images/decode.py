"""Decode image files to uint8 RGB; a file that cannot be decoded raises an error with the reason.

OpenCV decodes most files, because it is fastest. Pillow, which raises where OpenCV returns a half-grey
picture, decodes the few formats that OpenCV gets wrong, and files that look damaged. An intact file is
decoded once.

Not detected: wrong bits inside an otherwise complete JPEG, which OpenCV and Pillow decode to wrong
blocks (libjpeg prints a warning to stderr).
"""

from __future__ import annotations

import io
import os
import struct
import threading
import warnings
import zlib

import cv2
import numpy as np

from massrl.errors import ImageError
from massrl.images.header import Header, read_header

MAX_PIXELS = 178_956_970  # Pillow's own limit: a picture of 0.5 GB once decoded
_PILLOW_LOCK = threading.Lock()  # warning filters belong to the process, not to the thread
_PNG_CHUNKS = frozenset((b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND"))
_CUT_OFF = 32  # zeros at the end of a file; no intact compressed image has as many
_REDUCED = {  # a scale's flag alone would decode to grey; the flag for colours overrides that
    1: cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_8,
}

if "OPENCV_LOG_LEVEL" not in os.environ:
    # Every failure becomes an ImageError; OpenCV would print it too, without the file's name.
    # OpenCV 5 has moved the function.
    _logging = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
    _logging.setLogLevel(0)


def decode(
    encoded: bytes | np.ndarray,
    *,
    name: str = "image",
    max_pixels: int = MAX_PIXELS,
    reduction: int = 1,
    header: Header | None = None,
) -> np.ndarray:
    """Decode an image file's bytes, or check and convert an array of pixels.

    The EXIF orientation is applied, alpha is dropped, 16 bits are scaled to 8, palettes and CMYK
    are converted, and of several frames the first is taken.

    Args:
        encoded: the whole file, or an already decoded uint8 array ``(H, W)``, ``(H, W, 1)`` or
            ``(H, W, 3)`` in RGB.
        name: path or identifier of the image, for the error.
        max_pixels: larger images are refused from their header, without being decoded.
        reduction: 1, 2, 4 or 8: how many times smaller a JPEG is decoded, sides rounded up; much faster,
            and antialiased. Other formats are decoded at full size.
        header: result of ``read_header(encoded)``, if the caller has it.

    Returns:
        uint8 ``(H, W, 3)``, RGB, C-contiguous; an array that is so already is returned itself.

    Raises:
        ImageError: if the image is empty, truncated, damaged, too large or not an image.
    """
    if isinstance(encoded, np.ndarray):
        return _from_array(encoded, name=name)
    encoded = bytes(encoded)
    header = header or read_header(encoded)
    if header is None:
        raise ImageError(name, _no_header_reason(encoded))
    if header.height < 1 or header.width < 1:
        raise ImageError(name, f"damaged {header.format} file (no size in its header)")
    if header.height * header.width > max_pixels:
        size = f"{header.width} x {header.height} pixels"
        raise ImageError(name, f"too large: {size}, at most {max_pixels} pixels are decoded")
    if _is_cut_off(encoded, header):
        raise ImageError(name, f"damaged {header.format} file (its end is zeros)")
    if header.mode.endswith("floating-point"):
        raise ImageError(name, "floating-point samples; 8 or 16 bits are accepted")
    image = _decode_with_opencv(encoded, header, reduction)
    if image is None:
        image = _decode_with_pillow(encoded, header, name=name)
    return image


def _is_cut_off(encoded: bytes, header: Header) -> bool:
    """Return whether a file ends in zeros, as an interrupted copy does; decoders make half of it grey."""
    unfinished = header.format == "WebP" or (header.format == "JPEG" and not header.plain)
    return unfinished and len(encoded) > _CUT_OFF and encoded.endswith(bytes(_CUT_OFF))


def _decode_with_opencv(encoded: bytes, header: Header, reduction: int) -> np.ndarray | None:
    """Decode with OpenCV, or return None if Pillow has to decode."""
    if not header.plain:
        return None
    if header.format == "PNG":
        cleaned = _clean_png(encoded)
        if cleaned is None:
            return None
        encoded = cleaned
    try:
        flags = _REDUCED[reduction if header.format == "JPEG" else 1]
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image)


def _clean_png(encoded: bytes) -> bytes | None:
    """Check a PNG's checksums and drop the chunks that are not needed for its pixels.

    libpng prints to stderr about damaged data and about harmless colour profiles. So damaged files never
    reach it, nor do the chunks that it complains about.

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
        if kind in _PNG_CHUNKS:
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
            warnings.simplefilter("ignore")  # about odd metadata; errors are raised
            with Image.open(io.BytesIO(encoded)) as opened:
                picture = ImageOps.exif_transpose(opened)
                deep = picture.mode.startswith("I")
                pixels = np.array(picture if deep else picture.convert("RGB"))
    except ImageError:
        raise
    except Exception as error:  # Pillow's plug-ins raise errors of many kinds
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


def _no_header_reason(encoded: bytes) -> str:
    if not encoded:
        return "empty file"
    accepted = "accepted: JPEG, PNG, WebP, BMP, TIFF, GIF"
    return f"not an image, or only the start of one (begins with {encoded[:12]!r}; {accepted})"
