"""Decoded images cached in memory."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.conftest import photos

from massrl.data.catalogue import open_source
from massrl.data.sources.cache import CachedSource, fits_in_memory
from massrl.data.sources.shapes import ShapesSource
from massrl.errors import ImageError
from massrl.images.decode import decode
from massrl.views.view_maker import ViewMaker


def test_cached_images_are_the_decoded_ones(tmp_path: Path) -> None:
    """Guards order, shape and every attribute of the source."""
    folder = photos(tmp_path / "photos", "a", "b")
    cv2.imwrite(str(folder / "a" / "2.png"), np.full((5, 31, 3), 7, np.uint8))
    source = open_source(str(folder))
    cached = CachedSource(source, view_size=16)
    for index in range(len(source)):
        assert np.array_equal(cached.read(index), decode(source.read(index)))
        assert cached.describe(index) == source.describe(index)
    assert cached.fingerprint() == source.fingerprint()
    assert (cached.name, cached.class_names) == (source.name, source.class_names)
    assert np.array_equal(cached.labels, source.labels)
    assert cached.typical_side == source.typical_side


def test_image_that_was_read_belongs_to_the_caller(tmp_path: Path) -> None:
    """Guards the next epoch against a caller that writes into an image in this one."""
    cached = CachedSource(open_source(str(photos(tmp_path / "photos", "a"))), view_size=16)
    before = cached.read(1)
    cached.read(1)[:] = 0
    assert np.array_equal(cached.read(1), before)


def test_broken_image_raises_the_same_error_from_the_cache(tmp_path: Path) -> None:
    """Guards ``--data.on_error`` against a black image, and against an error while the cache is filled."""
    folder = photos(tmp_path / "photos", "a")
    (folder / "a" / "1.png").write_text("no picture")
    source = open_source(str(folder))
    cached = CachedSource(source, view_size=16)
    with pytest.raises(ImageError) as cached_error:
        cached.read(1)
    with pytest.raises(ImageError) as direct_error:
        decode(source.read(1), name=source.describe(1))
    assert str(cached_error.value) == str(direct_error.value)


def test_small_images_in_files_are_worth_caching_and_others_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards memory: a folder of photographs must not be decoded as a whole."""
    small = open_source(str(photos(tmp_path / "small", "a")))
    assert fits_in_memory(small)
    assert not fits_in_memory(ShapesSource(6, 16, seed=0, objects=1, split="train"))
    (tmp_path / "large").mkdir()
    cv2.imwrite(str(tmp_path / "large" / "a.png"), np.zeros((65, 80, 3), np.uint8))
    assert not fits_in_memory(open_source(str(tmp_path / "large")))
    monkeypatch.setattr("massrl.data.sources.cache._MAX_BYTES", 1000)
    assert not fits_in_memory(small)


def test_image_that_may_be_decoded_at_a_reduced_scale_is_cached_encoded(tmp_path: Path) -> None:
    """Guards the same views with and without the cache, which would decode at full size."""
    (tmp_path / "photos").mkdir()
    coarse = np.random.default_rng(0).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    for number in range(3):
        photo = cv2.resize(coarse, (400, 300), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.jpg"), photo)
    source = open_source(str(tmp_path / "photos"))
    cached = CachedSource(source, view_size=16)
    maker = ViewMaker("massrl", size=16)
    for index in range(3):
        views = (maker(item.read(index), epoch=1, index=index) for item in (source, cached))
        assert np.array_equal(*views)
    assert isinstance(CachedSource(source, view_size=96).read(0), np.ndarray)
