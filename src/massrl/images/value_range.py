"""The range of an image's samples, where they have more than 8 bits."""

from __future__ import annotations

import cv2
import numpy as np

from massrl.errors import ImageError
from massrl.images.decode import MAX_PIXELS
from massrl.images.header import Header
from massrl.images.png import PngError, read_png
from massrl.images.tiff import check_segments, read_samples
from massrl.images.tiff_page import read_page


def value_range(encoded: bytes, header: Header) -> tuple[float, float] | None:
    """Return the least and the greatest finite sample of a TIFF or PNG, alpha included.

    Returns:
        None for samples of at most 8 unsigned bits, and where they cannot be read.
    """
    if header.height * header.width > MAX_PIXELS:
        return None
    try:
        samples = _samples(encoded, header)
    except (ImageError, PngError, MemoryError):
        return None
    if samples is None or samples.dtype.kind not in "iuf":
        return None
    finite = samples[np.isfinite(samples)]
    return (float(finite.min()), float(finite.max())) if finite.size else None


def _samples(encoded: bytes, header: Header) -> np.ndarray | None:
    if header.format == "TIFF":
        page = read_page(encoded)
        if page is None or not (page.refusal or max(page.bits) > 8):
            return None
        check_segments(encoded, page, name="", max_pixels=MAX_PIXELS)
        return read_samples(encoded, page, name="")
    if header.format == "PNG" and "16-bit" in header.mode:
        content = read_png(encoded, max_bytes=8 * MAX_PIXELS).content()
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    return None
