"""Decode image files to uint8 RGB; a file that cannot be decoded raises an error with the reason.

Each format has the fastest reader that says what it could not decode, and prints nothing: libjpeg-turbo for
JPEG, OpenCV for PNG (whose checksums are compared before), WebP and BMP, Pillow for GIF, and for TIFF
Pillow and tifffile. Pillow also decodes the kinds that those readers refuse, or raises the reason.
"""

from __future__ import annotations

import os
import struct

import cv2
import numpy as np

from massrl.errors import ImageError
from massrl.images.gif import gif_problem
from massrl.images.header import Header, exif_orientation, read_header
from massrl.images.jpeg import (
    JpegError,
    UnusualJpegError,
    check_jpeg,
    count_scans,
    decode_jpeg,
    turn,
)
from massrl.images.pillow import decode_with_pillow, first_line
from massrl.images.png import PngError, read_png

MAX_PIXELS = 178_956_970  # Pillow's own limit: a picture of 0.5 GB once decoded
_MAX_SCANNED = 10 * MAX_PIXELS  # pixels times scans of a progressive JPEG: some ten seconds
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

    The EXIF orientation is applied, alpha is dropped, more than 8 bits are scaled to 8, palettes and CMYK
    are converted, and of several frames or pages the first is taken.

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
        ImageError: if the image is empty, truncated, damaged, too large or not an image, whatever a
            decoder raises; ``ImageKindError``, if it is of a kind that is not accepted.
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
    try:
        return _decode(encoded, header, name=name, max_pixels=max_pixels, reduction=reduction)
    except ImageError:
        raise
    except Exception as error:  # of any decoder
        reason = unexpected(error)
    raise ImageError(
        name, reason
    )  # out of its context: no memory is for this image, not for the run


def unexpected(error: Exception) -> str:
    """Return the reason of an image's error for an exception that nobody foresaw."""
    return f"cannot be read ({type(error).__name__}: {first_line(error)})"


def _is_cut_off(encoded: bytes, header: Header) -> bool:
    """Return whether a file ends in zeros, as an interrupted copy does; decoders make half of it grey."""
    unfinished = header.format == "WebP" or (header.format == "JPEG" and not header.plain)
    return unfinished and len(encoded) > _CUT_OFF and encoded.endswith(bytes(_CUT_OFF))


def _decode(
    encoded: bytes, header: Header, *, name: str, max_pixels: int, reduction: int
) -> np.ndarray:
    image = None
    if header.format == "TIFF":
        from massrl.images.tiff import decode_tiff

        return decode_tiff(encoded, name=name, max_pixels=max_pixels)
    if header.format == "JPEG":
        image = _decode_jpeg(encoded, header, reduction, name=name)
    elif header.format == "PNG":
        image = _decode_png(encoded, name=name, max_pixels=max_pixels)
    elif header.format == "GIF":
        _check_gif(encoded, name=name)
    elif header.plain:
        image = _decode_with_opencv(encoded)
    if image is None:
        image = decode_with_pillow(encoded, header, name=name, max_pixels=max_pixels)
    return image


def _decode_jpeg(encoded: bytes, header: Header, reduction: int, *, name: str) -> np.ndarray | None:
    """Decode with libjpeg-turbo; None if Pillow has to decode."""
    size = (header.height, header.width)
    scans = count_scans(encoded) if header.progressive else 1
    if scans * header.height * header.width > _MAX_SCANNED:
        pixels = f"{scans} scans of {header.width} x {header.height} pixels"
        raise ImageError(name, f"takes too long to decode: {pixels}; at most {_MAX_SCANNED} in all")
    try:
        if not header.plain:  # without an end: what is there must be whole, and Pillow is content
            check_jpeg(encoded + b"\xff\xd9", size=size, mode=header.mode)
            return None
        if header.mode in ("grey", "RGB"):
            image = decode_jpeg(encoded, reduction=reduction, size=size)
            return turn(image, header.orientation)
        check_jpeg(encoded, size=size, mode=header.mode)
        return _decode_with_opencv(encoded, _REDUCED[reduction])
    except UnusualJpegError:
        return None
    except JpegError as error:
        raise ImageError(name, f"truncated or damaged JPEG file ({error})") from None


def _check_gif(encoded: bytes, *, name: str) -> None:
    try:
        problem = gif_problem(encoded)
    except (IndexError, struct.error):
        problem = "it ends before its pixels"
    if problem:
        raise ImageError(name, f"truncated or damaged GIF file ({problem})")


def _decode_png(encoded: bytes, *, name: str, max_pixels: int) -> np.ndarray | None:
    try:
        png = read_png(encoded, max_bytes=4 * max_pixels + (1 << 20))
    except PngError as error:
        raise ImageError(name, f"truncated or damaged PNG file ({error})") from None
    image = png.pixels()
    if image is None:
        image = _decode_with_opencv(png.content())
    return None if image is None else turn(image, exif_orientation(png.exif))


def _decode_with_opencv(encoded: bytes, flags: int = _REDUCED[1]) -> np.ndarray | None:
    """Decode with OpenCV; None if it cannot."""
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image)


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
