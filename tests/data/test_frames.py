"""How images lie under their annotations, against Pillow and torchvision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.ops import clip_boxes_to_image, remove_small_boxes

from massrl.data.frames import (
    Frame,
    as_annotated,
    clip_boxes,
    describe_left_out,
    find_frames,
    read_size,
    resize_nearest,
    same_proportions,
    unusable_reason,
)
from massrl.errors import DataError
from massrl.images.decode import decode

WIDTH, HEIGHT = 40, 24


def ramp(size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """Return pixels whose corners differ; ``size`` is width and height."""
    across, down = np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1])
    return np.stack(np.broadcast_arrays(across, down[:, None], 90.0), axis=-1).astype(np.uint8)


def picture(path: Path, *, orientation: int = 1, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """Write ``ramp`` with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(ramp(size)).save(path, exif=exif, quality=100)
    return path


def seen(path: Path, annotated: tuple[int, int] | None) -> tuple[np.ndarray, Frame]:
    """Return an image as annotations of this height and width see it, and its frame."""
    (frame,), _ = find_frames([path], [annotated], flag="--x")
    assert frame is not None
    encoded = path.read_bytes()
    return as_annotated(decode(encoded), encoded, frame), frame


def upright(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        turned = ImageOps.exif_transpose(opened)
        return np.array(turned.convert("RGB"))


def is_like(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether pixels are the same but for what lossy formats change."""
    return one.shape == other.shape and int(np.abs(one.astype(int) - other).max()) <= 12


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_image_lies_as_its_annotated_size_says(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    """Guards boxes of photographs on their side: AP fell from 84 to 0.5 without a word.

    To the kind belong all orientations, formats whose orientation is not in the header that massrl
    reads, orientations that leave the size the same, and annotations that give no size.
    """
    path = picture(tmp_path / f"a.{suffix}", orientation=orientation)
    turned = upright(path)
    image, frame = seen(path, turned.shape[:2])
    assert is_like(image, turned)
    assert (frame.size, frame.is_scaled) == (turned.shape[:2], False)
    assert is_like(seen(path, None)[0], turned)
    if orientation >= 5:
        image, frame = seen(path, (HEIGHT, WIDTH))
        assert is_like(image, ramp())
        assert frame.stored
        assert frame.size == (HEIGHT, WIDTH)


def test_orientation_that_keeps_the_size_is_as_that_of_other_images(tmp_path: Path) -> None:
    """Guards photographs upside down and square ones, of which the size says nothing, beside others."""
    turned = picture(tmp_path / "a.jpg", orientation=6)
    half = picture(tmp_path / "b.jpg", orientation=3)
    square = picture(tmp_path / "c.jpg", orientation=8, size=(20, 20))
    paths = [turned, half, square]
    frames, notes = find_frames(paths, [(24, 40), (24, 40), (20, 20)], flag="--x")
    assert [frame.stored for frame in frames if frame] == [True] * 3
    assert notes == [
        "without their EXIF orientation, since they were annotated as stored: 3 images"
    ]
    for path, frame in zip(paths, frames, strict=True):
        encoded = path.read_bytes()
        wanted = ramp((20, 20) if path == square else (WIDTH, HEIGHT))
        assert is_like(as_annotated(decode(encoded), encoded, frame), wanted)
    frames, notes = find_frames(paths, [(40, 24), (24, 40), (20, 20)], flag="--x")
    assert [frame.stored for frame in frames if frame] == [False] * 3
    assert notes == [
        "turned by an EXIF orientation that their annotated size says nothing of: 2 images"
    ]


@pytest.mark.parametrize("size", [(640, 480), (500, 333), (333, 500), (1333, 800), (17, 91)])
@pytest.mark.parametrize("longest", [16, 100, 257, 300])
def test_shrunk_file_is_scaled_and_said(
    tmp_path: Path, size: tuple[int, int], longest: int
) -> None:
    """Guards files that were shrunk after annotation, whose sides Pillow has rounded."""
    image = Image.new("RGB", size)
    image.thumbnail((longest, longest))
    image.save(tmp_path / "a.png")
    frames, notes = find_frames([tmp_path / "a.png"], [size[::-1]], flag="--x")
    assert frames[0] is not None
    assert frames[0].size == image.size[::-1]
    assert frames[0].scale == (image.width / size[0], image.height / size[1])
    assert bool(notes) == (image.size != size)
    assert (
        not notes
        or f"annotated at {size[0]} × {size[1]}, {image.width} × {image.height}" in notes[0]
    )


@pytest.mark.parametrize("size", [(40, 30), (36, 24), (24, 40), (24, 24)])
def test_image_of_other_proportions_is_refused_by_name(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    """Guards crops, and turned images that no EXIF orientation explains: boxes cannot be placed."""
    paths = [picture(tmp_path / f"{name}.jpg", size=size) for name in "ab"]
    with pytest.raises(
        DataError,
        match=rf"a\.jpg has {size[0]} × {size[1]} pixels, but is annotated at 40 × 24.*\(and 1 more "
        r"image\).*\(--x\)",
    ):
        find_frames(paths, [(24, 40)] * 2, flag="--x")
    assert not same_proportions((24, 40), size[::-1])


def test_unreadable_image_has_no_frame(tmp_path: Path) -> None:
    """Guards the message about a broken image, which decoding gives, and ``--data.on_error skip``."""
    (tmp_path / "a.jpg").write_bytes(b"no image")
    paths = [tmp_path / "a.jpg", tmp_path / "missing.jpg"]
    assert find_frames(paths, [(1, 1), None], flag="--x") == ([None, None], [])
    nothing = picture(tmp_path / "b.png").read_bytes()
    paths[0].write_bytes(nothing[:16] + bytes(4) + nothing[20:])  # a width of 0
    assert find_frames(paths[:1], [(1, 1)], flag="--x") == ([None], [])
    assert read_size(paths[0]) is None
    image = np.zeros((2, 3, 3), np.uint8)
    assert as_annotated(image, b"", None) is image
    assert read_size(paths[0]) is None


def test_header_behind_long_metadata_is_found(tmp_path: Path) -> None:
    """Guards JPEGs with more than 64 KiB before their size: profiles, thumbnails."""
    path = picture(tmp_path / "a.jpg", orientation=6)
    content = path.read_bytes()
    segment = b"\xff\xe2\xff\xff" + bytes(0xFFFD)
    path.write_bytes(content[:2] + 2 * segment + content[2:])
    assert read_size(path) == (HEIGHT, WIDTH)
    assert seen(path, (WIDTH, HEIGHT))[1] == Frame((WIDTH, HEIGHT))


@pytest.mark.parametrize("size", [(5, 5), (24, 40), (48, 80), (7, 61), (1, 1)])
def test_nearest_pixels_are_pillows(size: tuple[int, int]) -> None:
    """Guards masks against a shift by half a pixel."""
    values = np.random.default_rng(0).integers(0, 255, (24, 40), dtype=np.uint8)
    wanted = Image.fromarray(values).resize(size[::-1], Image.Resampling.NEAREST)
    assert np.array_equal(resize_nearest(values, size), np.array(wanted))


def test_boxes_are_clipped_as_torchvision_does() -> None:
    """Guards boxes beyond the edges; those of which nothing is left are told apart, with the reason."""
    generator = np.random.default_rng(0)
    corners = generator.uniform(-30, 60, (200, 4))
    boxes = np.concatenate([corners[:, :2], corners[:, :2] + np.abs(corners[:, 2:])], axis=1)
    clipped, usable = clip_boxes(boxes, (HEIGHT, WIDTH))
    wanted = clip_boxes_to_image(torch.from_numpy(boxes), (HEIGHT, WIDTH)).float().numpy()
    assert np.array_equal(clipped, wanted)
    assert (
        np.flatnonzero(usable).tolist()
        == remove_small_boxes(torch.from_numpy(wanted), 0.01).tolist()
    )
    assert 0 < usable.sum() < len(boxes)
    nan, inf = float("nan"), float("inf")
    broken = np.array(
        [
            (nan, 0, 5, 5),
            (0, 0, inf, 5),
            (3, 3, 3, 9),
            (9, 3, 4, 9),
            (9, 3, 9.001, 9),
            (41, 1, 50, 9),
        ]
    )
    assert not clip_boxes(broken, (HEIGHT, WIDTH))[1].any()
    reasons = dict.fromkeys(map(unusable_reason, broken), 1)
    assert list(reasons) == [
        "with a box whose numbers are not finite",
        "with a box of no width or height",
        "with a box outside the image",
    ]
    assert describe_left_out({"of no image": 2, "outside": 1}, total=9) == [
        "3 of 9 objects are left out: 2 of no image, 1 outside"
    ]
    assert describe_left_out({}, total=9) == []
