"""Rows of a sheet: which images, their plans and views, and the colours of a sheet."""

from __future__ import annotations

import logging
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from massrl.errors import ImageError
from massrl.images.decode import decode
from massrl.views.device_view_maker import DeviceViewMaker
from massrl.views.drawing.sheet_rows import sheet_colours, sheet_rows
from massrl.views.layouts import Arrangement, Layout
from massrl.views.view_maker import ViewMaker


class Images:
    """A set of images in memory that records what is read."""

    name = "memory"

    def __init__(self, *images: bytes | np.ndarray) -> None:
        self._images = images
        self.read_indices: list[int] = []

    def __len__(self) -> int:
        return len(self._images)

    def read(self, index: int) -> bytes | np.ndarray:
        """One image."""
        self.read_indices.append(index)
        return self._images[index]

    def describe(self, index: int) -> str:
        """A path."""
        return f"folder/image {index}.jpg"


class Deleted(Images):
    """Images whose first file is gone."""

    def read(self, index: int) -> bytes | np.ndarray:
        """One image."""
        if index == 0:
            raise ImageError(self.describe(index), "no such file")
        return super().read(index)


@pytest.mark.parametrize("kind", [ViewMaker, DeviceViewMaker])
def test_rows_have_the_plans_and_views_of_their_images(
    kind: Callable[..., ViewMaker], photo: np.ndarray
) -> None:
    """Guards a sheet against other views than those that are trained on."""
    source = Images(photo, photo[:, ::-1].copy(), photo)
    maker = kind("massrl", size=16, seed=2)
    rows = sheet_rows(source, maker, count=2, epoch=3)
    assert [row.title for row in rows] == ["image 0.jpg", "image 1.jpg"]
    for index, row in enumerate(rows):
        assert np.array_equal(row.image, source.read(index))
        assert row.plan == maker.plan(epoch=3, index=index, height=48, width=64)
        assert np.array_equal(np.stack(row.views), maker(row.image, epoch=3, index=index))


def test_each_image_is_read_and_decoded_once(
    photo: np.ndarray, encode: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards speed: decoding is most of a sheet's time."""
    decoded = []

    def counted(*arguments: object, **named: object) -> np.ndarray:
        decoded.append(named.get("name"))
        return decode(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("massrl.views.view_maker.decode", counted)
    source = Images(encode(photo, "JPEG"), encode(photo, "PNG"))
    sheet_rows(source, ViewMaker("byol", size=24), count=9)
    assert source.read_indices == [0, 1]
    assert len(decoded) == 2


def test_large_jpeg_is_shown_whole_with_the_views_of_its_reduced_pixels(
    encode: Callable[..., bytes],
) -> None:
    """Guards a sheet of photographs: a sharp image, and the very pixels that training has."""
    coarse = np.random.default_rng(0).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    encoded = encode(cv2.resize(coarse, (800, 600), interpolation=cv2.INTER_CUBIC), "JPEG")
    maker = ViewMaker("massrl", size=16)
    (row,) = sheet_rows(Images(encoded), maker, count=1)
    assert row.plan.reduction > 1
    assert row.image.shape == (600, 800, 3)
    assert np.array_equal(np.stack(row.views), maker(encoded))


@pytest.mark.parametrize("kind", [Images, Deleted])
def test_images_that_are_broken_or_gone_are_skipped_with_their_reason(
    kind: Callable[..., Images], photo: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards a sheet of a folder with one bad file, and a warning that does not name it."""
    with caplog.at_level(logging.WARNING, "massrl"):
        rows = sheet_rows(kind(b"no picture", photo), ViewMaker("byol", size=8), count=5)
    assert [row.title for row in rows] == ["image 1.jpg"]
    assert "folder/image 0.jpg: no" in caplog.text


def test_rows_may_be_of_given_images(photo: np.ndarray) -> None:
    """Guards the replay of a step, whose images come in their own order."""
    rows = sheet_rows(Images(*[photo] * 5), ViewMaker("byol", size=8), count=9, indices=[3, 1])
    assert [row.plan.index for row in rows] == [3, 1]


def test_policies_and_crops_have_their_colours(photo: np.ndarray) -> None:
    """Guards the legend: one colour for both where each policy has a crop of its own."""

    def colours(arrangement: Arrangement) -> tuple[dict[str, str], dict[int, str]]:
        layout = Layout(arrangement=arrangement, num_crops=1, policies=("weak", "byol-2"))
        return sheet_colours(sheet_rows(Images(photo), ViewMaker(layout, size=8), count=1))

    by_policy, by_crop = colours("independent")
    assert by_crop == {0: by_policy["weak"], 1: by_policy["byol-2"]}
    by_policy, by_crop = colours("shared")
    assert len({*by_policy.values(), *by_crop.values()}) == 3
