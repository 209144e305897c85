"""Decode with Pillow what no faster reader decodes rightly."""

from __future__ import annotations

import io
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from massrl.errors import ImageError
from massrl.images.header import Header

_LOCK = threading.Lock()  # warning filters and loggers belong to the process, not to the thread
_LOGGERS = ("PIL.TiffImagePlugin", "PIL.ImageFile", "PIL.PngImagePlugin", "tifffile")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the warnings and log lines of Pillow and tifffile from the terminal; errors are raised."""

    def nothing(_: logging.LogRecord) -> bool:
        return False

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.addFilter(nothing)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeFilter(nothing)


def first_line(error: BaseException) -> str:
    """Return what an error says, in one line without addresses; its class if it says nothing."""
    return str(error).partition("<")[0].split("\n")[0].strip() or type(error).__name__


def decode_with_pillow(encoded: bytes, header: Header, *, name: str, max_pixels: int) -> np.ndarray:
    """Decode the first frame to uint8 ``(H, W, 3)``, RGB, turned upright; alpha is dropped.

    Args:
        encoded: the file.
        header: its header.
        name: of the image, for errors.
        max_pixels: largest size; a GIF's first frame may be larger than its header says.

    Raises:
        ImageError: if Pillow cannot decode it.
    """
    from PIL import Image, ImageOps

    try:
        with quiet(), Image.open(io.BytesIO(encoded)) as opened:
            width, height = opened.size
            if width * height > max_pixels:
                raise ImageError(name, f"too large: {width} x {height} pixels")
            picture = ImageOps.exif_transpose(opened)
            if picture.mode.startswith("I"):  # clipping would be white
                pixels = np.array(picture) >> 8  # as OpenCV and libpng do
                return np.repeat(pixels.astype(np.uint8)[..., None], 3, axis=2)
            return np.array(picture.convert("RGB"))
    except ImageError:
        raise
    except Exception as error:  # Pillow's plug-ins raise errors of many kinds
        reason = f"truncated or damaged {header.format} file ({first_line(error)})"
        raise ImageError(name, reason) from None
