"""Masks in COCO's forms: polygons, and run lengths, compressed or not."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from massrl.data.frames import Frame, resize_nearest
from massrl.errors import ConfigError

_FAR = 16  # sides of the image; pycocotools takes memory for every pixel of an outline


def object_mask(segmentation: Any, frame: Frame) -> np.ndarray:
    """Decode the pixels of an object from polygons or from COCO's run lengths.

    Args:
        segmentation: as the annotation file has it.
        frame: of the image; polygons are scaled as it says, run lengths from their own size to its.

    Returns:
        bool ``(height, width)``.

    Raises:
        ConfigError: if pycocotools is not installed.
        ValueError: if a polygon's numbers are not finite, or far outside the image.
    """
    with _pycocotools() as coco:
        if not isinstance(segmentation, list):
            mask = np.asarray(coco.decode(_compressed(segmentation))).astype(bool)
            return mask if mask.shape == frame.size else resize_nearest(mask, frame.size)
        polygons = [
            (np.asarray(polygon, float).reshape(-1, 2) * frame.scale) for polygon in segmentation
        ]
        limit = _FAR * max(frame.size)
        if not all((np.abs(polygon) <= limit).all() for polygon in polygons):
            raise ValueError("a polygon with numbers that are not finite, or far outside the image")
        flat = [polygon.reshape(-1).tolist() for polygon in polygons]
        runs = coco.merge(coco.frPyObjects(flat, *frame.size))
        return np.asarray(coco.decode(runs)).astype(bool)


def run_lengths_box(segmentation: Mapping[str, Any]) -> list[float]:
    """Return x, y, width and height of the box around run lengths.

    Raises:
        ConfigError: if pycocotools is not installed.
    """
    with _pycocotools() as coco:
        return [float(side) for side in coco.toBbox(_compressed(segmentation))]


def _compressed(segmentation: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return run lengths as pycocotools decodes them."""
    if not isinstance(segmentation["counts"], list):
        return segmentation
    with _pycocotools() as coco:
        runs: Mapping[str, Any] = coco.frPyObjects(segmentation, *segmentation["size"])
    return runs


@contextmanager
def _pycocotools() -> Iterator[Any]:
    """Give pycocotools' functions of masks, and keep NumPy's warnings of what they do silent."""
    try:
        from pycocotools import mask
    except ImportError:
        raise ConfigError("masks of COCO need pycocotools: pip install 'massrl[detect]'") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield mask
