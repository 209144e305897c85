"""Decoded images in one array."""

from __future__ import annotations

from typing import Any

import numpy as np

from massrl.data.source import IMAGENET_NORMALIZATION
from massrl.data.sources.arrays import ArraySource

IMAGES = np.arange(3 * 4 * 5 * 3, dtype=np.uint8).reshape(3, 4, 5, 3)


def source(images: np.ndarray = IMAGES, **changes: Any) -> ArraySource:
    facts: dict[str, Any] = {
        "labels": np.array([1, 0, 1]),
        "class_names": ("a", "b"),
        "normalization": IMAGENET_NORMALIZATION,
    }
    return ArraySource(changes.pop("name", "mine"), images, **{**facts, **changes})


def test_image_that_was_read_belongs_to_the_caller() -> None:
    """Guards the data set against a caller that writes into an image."""
    images = IMAGES.copy()
    image = source(images).read(1)
    assert np.array_equal(image, IMAGES[1])
    image[:] = 0
    assert np.array_equal(images, IMAGES)


def test_image_is_contiguous_for_any_memory_layout() -> None:
    """Guards decoders and views, which take rows of three bytes a pixel."""
    planes = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2))  # channels first, as STL-10
    image = source(planes.transpose(0, 2, 3, 1)).read(2)
    assert np.array_equal(image, IMAGES[2])
    assert image.flags.c_contiguous


def test_image_is_described_by_name_and_index() -> None:
    """Guards messages about images that are no files."""
    assert source().describe(2) == "mine[2]"
    assert len(source()) == 3
    assert source().typical_side == 4


def test_fingerprint_changes_with_name_number_and_labels() -> None:
    """Guards results on different sets that look comparable."""
    prints = [
        item.fingerprint()
        for item in (
            source(),
            source(name="other"),
            source(IMAGES[:2], labels=None),
            source(labels=None),
            source(labels=np.array([1, 1, 1])),
        )
    ]
    assert len(set(prints)) == 5
    assert source().fingerprint() == prints[0]
