"""Masks in COCO's forms: polygons, and run lengths, compressed or not."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from massrl.data.frames import Frame, resize_nearest
from massrl.errors import ConfigError
from massrl.images.decode import MAX_PIXELS

_FAR = 16  # sides of the image; pycocotools takes memory for every pixel of an outline


def object_mask(segmentation: Any, frame: Frame) -> np.ndarray:
    """Decode the pixels of an object from polygons or from COCO's run lengths.

    Args:
        segmentation: as the annotation file has it.
        frame: of the image; polygons are scaled as it says, run lengths from their own size to its.

    Returns:
        bool ``(height, width)``.

    Raises:
        ConfigError: if there are polygons, and pycocotools is not installed.
        ValueError: if a polygon's numbers are not finite, or far outside the image; or if run lengths are
            broken.
    """
    if isinstance(segmentation, list):
        return _polygon_mask(segmentation, frame)
    mask = run_length_mask(segmentation)
    return mask if mask.shape == frame.size else resize_nearest(mask, frame.size)


def _polygon_mask(polygons: list[Any], frame: Frame) -> np.ndarray:
    try:
        from pycocotools import mask as coco
    except ImportError:
        raise ConfigError("masks of COCO need pycocotools: pip install 'massrl[detect]'") from None
    outlines = [np.asarray(polygon, float).reshape(-1, 2) * frame.scale for polygon in polygons]
    limit = _FAR * max(frame.size)
    if not all((np.abs(outline) <= limit).all() for outline in outlines):
        raise ValueError("a polygon with numbers that are not finite, or far outside the image")
    flat = [outline.reshape(-1).tolist() for outline in outlines if len(outline) > 2]
    if not flat:  # points and lines have no pixel; pycocotools takes two points for a box
        return np.zeros(frame.size, bool)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy warns of what pycocotools does
        runs = coco.merge(coco.frPyObjects(flat, *frame.size))
        return np.asarray(coco.decode(runs)).astype(bool)


def run_length_mask(segmentation: Mapping[str, Any]) -> np.ndarray:
    """Decode run lengths, which must cover every pixel.

    pycocotools shows whatever is in memory where they do not.

    Args:
        segmentation: ``size``, height and width; and ``counts``, column by column, numbers of pixels that
            are in turn outside and inside, as a list or as text.

    Returns:
        bool ``(height, width)``, of ``size``.

    Raises:
        ValueError: if they are broken.

    Source: Lin et al., arXiv 1405.0312; cocoapi, ``maskApi.c``.
    """
    height, width = (int(side) for side in segmentation["size"])
    counts = segmentation["counts"]
    counts = _uncompressed(counts) if isinstance(counts, str) else np.asarray(counts)
    numeric = counts.ndim == 1 and counts.size and counts.dtype.kind in "iu"
    total = sum(counts.tolist()) if numeric else -1
    if not numeric or counts.min() < 0 or total != height * width or total > MAX_PIXELS:
        raise ValueError(f"run lengths of {total} pixels for {width} × {height}")
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(width, height).T


def _uncompressed(text: str) -> np.ndarray:
    """Return the numbers of compressed run lengths.

    Each is of one or more letters of six bits, of which one says whether another follows; from the fourth
    on, a number is the difference from the one before the last.
    """
    letters = np.frombuffer(text.encode("latin-1", "replace"), np.uint8).astype(np.int64) - 48
    last = (letters & 32) == 0
    if not letters.size or not last[-1] or ((letters < 0) | (letters > 63)).any():
        raise ValueError("run lengths in letters that have no meaning")
    ends = np.flatnonzero(last)
    begins = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(letters)) - np.repeat(begins, ends - begins + 1)
    if place.max() > 6:
        raise ValueError("run lengths of more than 32 bits")
    numbers = np.add.reduceat((letters & 31) << (5 * place), begins)
    negative = (letters[ends] & 16) != 0
    numbers -= negative.astype(np.int64) << (5 * (place[ends] + 1))
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def run_length_box(segmentation: Mapping[str, Any]) -> list[float]:
    """Return x, y, width and height of the box around run lengths, zeros where nothing is inside.

    Raises:
        ValueError: if they are broken.
    """
    rows, columns = np.nonzero(run_length_mask(segmentation))
    if not rows.size:
        return [0.0] * 4
    left, top = int(columns.min()), int(rows.min())
    return [float(side) for side in (left, top, columns.max() + 1 - left, rows.max() + 1 - top)]
