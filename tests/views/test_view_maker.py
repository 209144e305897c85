"""ViewMaker: the views of one image, from bytes, a path or an array."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from massrl.errors import ConfigError, ImageError
from massrl.registry import LAYOUTS
from massrl.views import view_maker
from massrl.views.cpu import execute
from massrl.views.layouts import Layout, layout_named
from massrl.views.view_maker import ViewMaker


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (80, 60), interpolation=cv2.INTER_CUBIC)


def test_bytes_path_and_array_of_one_image_give_the_same_views(
    image: np.ndarray, tmp_path: Path
) -> None:
    """Guards colour order and decoding: a path read as BGR would differ from the array."""
    encoded = cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()
    path = tmp_path / "mit Leerzeichen é.png"
    path.write_bytes(encoded)
    maker = ViewMaker("massrl", size=32, seed=3)
    wanted = maker(image, epoch=1, index=5)
    for given in (encoded, path, str(path)):
        assert np.array_equal(maker(given, epoch=1, index=5), wanted)


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_views_have_the_documented_shape(name: str, image: np.ndarray) -> None:
    """Guards the public surface: uint8 (N, size, size, 3) for every layout."""
    views = ViewMaker(name, size=24)(image)
    assert views.shape == (layout_named(name).num_views, 24, 24, 3)
    assert views.dtype == np.uint8


def test_defaults_are_those_of_the_public_surface(image: np.ndarray) -> None:
    """Guards the signature ``ViewMaker(layout="massrl", size=224, seed=0)``, epoch 0, index 0."""
    maker = ViewMaker()
    assert (maker.layout.name, maker.size, maker.seed) == ("massrl", 224, 0)
    views = maker(image)
    assert views.shape == (8, 224, 224, 3)
    again = ViewMaker(layout="massrl", size=224, seed=0)(image, epoch=0, index=0)
    assert np.array_equal(views, again)


def test_plan_is_the_one_that_the_views_follow(image: np.ndarray) -> None:
    """Guards the contact sheet: the numbers it prints must be those of its pictures."""
    maker = ViewMaker("massrl", size=32, seed=3)
    plan = maker.plan(epoch=1, index=5, height=60, width=80)
    assert np.array_equal(execute(image, plan), maker(image, epoch=1, index=5))
    assert maker.plan(height=60, width=80) == maker.plan(epoch=0, index=0, height=60, width=80)


def test_views_differ_by_seed_epoch_and_index(image: np.ndarray) -> None:
    """Guards against views that never change."""
    maker = ViewMaker("simclr", size=32)
    made = [maker(image), maker(image, epoch=1), maker(image, index=1)]
    made.append(ViewMaker("simclr", size=32, seed=1)(image))
    assert all(not np.array_equal(a, b) for i, a in enumerate(made) for b in made[:i])


def test_grey_and_transparent_images_become_views_in_colour(image: np.ndarray) -> None:
    """Guards encoded images that have one channel or four."""
    maker = ViewMaker("byol", size=16)
    for given in (image[:, :, 0], np.dstack([image, image[:, :, :1]])):
        encoded = cv2.imencode(".png", given)[1].tobytes()
        assert maker(encoded).shape == (2, 16, 16, 3)


def test_image_is_not_written_to(image: np.ndarray) -> None:
    """Guards an array that the user owns."""
    own = image.copy()
    ViewMaker("massrl", size=60)(own)
    assert np.array_equal(own, image)


def test_layout_of_ones_own_is_taken(image: np.ndarray) -> None:
    """Guards layouts that have no name here."""
    layout = Layout(name="own", summary="", arrangement="sampled", num_crops=3, policies=("weak",))
    assert ViewMaker(layout, size=8)(image).shape == (3, 8, 8, 3)


@pytest.mark.parametrize("size", [0, -1, 2.5, "64", None])
def test_size_that_is_no_positive_whole_number_is_refused(size: Any) -> None:
    """Guards against an error deep in NumPy for a size that cannot be."""
    with pytest.raises(ConfigError, match="size of a view is"):
        ViewMaker(size=size)


@pytest.mark.parametrize("seed", [3.0, "3", None])
def test_seed_that_is_no_whole_number_is_refused(seed: Any) -> None:
    """Guards against an error of the first image for a seed that cannot be."""
    with pytest.raises(ConfigError, match="seed is"):
        ViewMaker(seed=seed)


@pytest.mark.parametrize("wrong", [{"epoch": -1}, {"epoch": 0.5}, {"index": -3}, {"index": 2.0}])
def test_epoch_or_index_that_is_no_whole_number_is_refused(
    wrong: dict[str, Any], image: np.ndarray
) -> None:
    """Guards replay: half an epoch would give views that no run has seen."""
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} is"):
        ViewMaker("byol", size=16)(image, **wrong)


def test_unknown_layout_is_refused_with_a_suggestion() -> None:
    """Guards the message."""
    with pytest.raises(ConfigError, match="'masrl'.*'massrl'"):
        ViewMaker("masrl")


def test_image_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Guards the message: the path, and one reason."""
    maker = ViewMaker("byol", size=8)
    with pytest.raises(ImageError, match="none.png: No such file"):
        maker(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ImageError, match="text.png: "):
        maker(tmp_path / "text.png")
    with pytest.raises(ImageError, match="image 7: "):
        maker(b"no picture", index=7)


def jpeg(pixels: np.ndarray, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x112] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize(
    ("orientation", "shape", "reduced"),
    [
        *((orientation, (1200, 1600), True) for orientation in (1, 3, 6, 8)),
        (1, (1001, 1501), True),
        (3, (1001, 1501), False),
    ],
)
def test_large_jpeg_decoded_at_a_reduced_scale_gives_nearly_the_same_views(
    orientation: int, shape: tuple[int, int], reduced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the short cut: sides exchanged, a box out of place or aliasing are farther off."""
    scales = []
    original = view_maker.decode

    def watched(encoded: Any, *, reduction: int = 1, **options: Any) -> np.ndarray:
        scales.append(reduction)
        return original(encoded, reduction=reduction, **options)

    coarse = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    photo = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    encoded = jpeg(photo, orientation)
    layout = Layout(
        name="own", summary="", arrangement="independent", num_crops=2, policies=("weak",)
    )
    maker = ViewMaker(layout, size=32)
    whole = maker.load(encoded)
    monkeypatch.setattr(view_maker, "decode", watched)
    apart = [
        np.abs(maker(encoded, index=index).astype(int) - maker(whole, index=index)).mean()
        for index in range(6)
    ]
    assert max(apart) <= 1.0
    assert (sum(scale > 1 for scale in scales) >= 4) == reduced


def test_small_jpeg_is_decoded_whole(image: np.ndarray) -> None:
    """Guards quality: no crop that is less than four views wide may come from a reduced image."""
    encoded = jpeg(cv2.resize(image, (400, 300)), 1)
    maker = ViewMaker("massrl", size=96)
    assert np.array_equal(maker(encoded, index=3), maker(maker.load(encoded), index=3))


def test_views_written_into_a_batch_are_the_views(image: np.ndarray) -> None:
    """Guards the loader's way to the same pixels."""
    maker = ViewMaker("massrl", size=32, seed=3)
    batch = np.zeros((*maker.shape[:1], 2, *maker.shape[1:]), np.uint8)
    maker.write(image, epoch=1, index=5, out=batch[:, 1])
    assert np.array_equal(batch[:, 1], maker(image, epoch=1, index=5))
    assert not batch[:, 0].any()
