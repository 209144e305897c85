"""Folders of images and masks: which mask is whose, and which class a pixel has."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from massrl.data.annotated import IGNORED, ObjectSource
from massrl.data.catalogue import open_objects, open_source, validation_spec
from massrl.data.sources.base import OpenOptions, parse_spec
from massrl.data.sources.mask_folders import MaskFoldersKind, MaskFolderSource
from massrl.errors import DataError

Write = Callable[..., Path]
SIZE = {"height": 10, "width": 20}


def mask(path: Path, value: int | tuple[int, int, int] = 255) -> Path:
    """Write a mask whose left half has a value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = isinstance(value, tuple)
    pixels = np.zeros((10, 20, 3) if colour else (10, 20), np.uint8)
    pixels[:, :10] = value
    Image.fromarray(pixels).save(path)
    return path


def maps(spec: Path, split: str = "train") -> ObjectSource:
    return open_objects(str(spec), split=split, maps=True, flag="--x")


@pytest.mark.parametrize(
    ("image", "own"),
    [
        ("images/a.jpg", "masks/a.png"),
        ("images/a.jpg", "masks/a_mask.png"),
        ("Images/a.JPG", "Masks/mask_a.PNG"),
        ("images/a.b.jpg", "labels/a.b.tif"),
        ("images/train/a.jpg", "masks/train/a-mask.png"),
        ("images/training/a.jpg", "annotations/training/a.png"),
        ("train/images/a.jpg", "train/masks/a.png"),
        ("images/train/x/a.jpg", "masks/train/x/a.png"),
        ("images/a.jpg", "masks/a.bmp"),
    ],
)
def test_mask_is_found_by_the_name_of_its_image(
    tmp_path: Path, write: Write, image: str, own: str
) -> None:
    """Guards the layouts and names that tools and competitions have: half of the pixels are the object."""
    write(tmp_path / image, **SIZE)
    write(tmp_path / image.replace("a.", "b."), **SIZE)
    mask(tmp_path / own)
    mask(
        tmp_path / own.replace("a.", "b.")
        if "mask_a" not in own
        else tmp_path / "Masks" / "mask_b.PNG"
    )
    source = maps(tmp_path)
    assert source.object_names == ("object",)
    labels = source.label_map(0)
    assert (labels[:, :10] == 1).all()
    assert (labels[:, 10:] == 0).all()
    assert source.image(0).shape == (10, 20, 3)


def test_masks_are_no_images_to_train_on(tmp_path: Path, write: Write) -> None:
    """Guards pre-training on masks, and on images that a segmentation is evaluated on."""
    for number in range(10):
        write(tmp_path / "images" / f"{number}.jpg", **SIZE)
        mask(tmp_path / "masks" / f"{number}.png")
    train, val = maps(tmp_path), maps(tmp_path, "val")
    parts = [{part.describe(index) for index in range(len(part))} for part in (train, val)]
    assert (len(train), len(val), parts[0] & parts[1]) == (8, 2, set())
    source = open_source(tmp_path)
    assert {source.describe(index) for index in range(len(source))} == parts[0]
    assert validation_spec(str(tmp_path)) == str(tmp_path)


def test_numbers_and_colours_are_those_of_the_label_map(tmp_path: Path, write: Write) -> None:
    """Guards masks of several classes, as numbers and as colours, without a limit to one of them."""
    (tmp_path / "labelmap.txt").write_bytes(
        "# label:colour\r\nbackground:0,0,0::\r\ncat : 128, 0, 0\r\ndog:0,128,0::\r\n".encode(
            "utf-8-sig"
        )
    )
    for name, value in (("a", 2), ("b", (0, 128, 0)), ("c", 255)):
        write(tmp_path / "images" / f"{name}.jpg", **SIZE)
        mask(tmp_path / "masks" / f"{name}.png", value)
    write(tmp_path / "images" / "val" / "d.jpg", **SIZE)
    for name in "abc":
        (tmp_path / "images" / "train").mkdir(exist_ok=True)
        (tmp_path / "images" / f"{name}.jpg").rename(tmp_path / "images" / "train" / f"{name}.jpg")
    source = maps(tmp_path)
    assert source.object_names == ("cat", "dog")
    assert [int(source.label_map(index)[0, 0]) for index in range(3)] == [2, 2, IGNORED]
    source.set_object_names(("dog", "bird", "cat"))
    assert int(source.label_map(0)[0, 0]) == 1
    assert source.used_names == ("cat", "dog")


def test_one_class_is_white_or_the_number_1(tmp_path: Path, write: Write) -> None:
    """Guards masks of 0 and 1, which look black; other numbers need names."""
    for name in "ab":
        write(tmp_path / "train" / "images" / f"{name}.jpg", **SIZE)
        mask(tmp_path / "train" / "masks" / f"{name}.png", 1)
    assert int(maps(tmp_path).label_map(1)[0, 0]) == 1
    mask(tmp_path / "train" / "masks" / "a.png", 7)
    with pytest.raises(DataError, match=r"has the number 7, but there are 2 classes.*labelmap.txt"):
        maps(tmp_path).label_map(0)


def test_images_without_masks_are_counted(
    tmp_path: Path, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards images that vanish without a word, and a segmentation of nothing."""
    names = [unicodedata.normalize(form, "é") for form in ("NFC", "NFD")]
    write(tmp_path / "images" / "train" / f"{names[0]}.jpg", **SIZE)
    write(tmp_path / "images" / "train" / "z.jpg", **SIZE)
    own = mask(tmp_path / "masks" / "train" / f"{names[1]}.png")
    with caplog.at_level(logging.WARNING):
        assert len(maps(tmp_path)) == 1
    assert "1 of 2 images are left out: without a mask" in caplog.text
    own.rename(own.with_name("other.png"))
    with pytest.raises(DataError, match=r"none of 2 images .* has a mask; accepted: images/a.jpg"):
        maps(tmp_path)


def test_detection_without_boxes_is_refused(tmp_path: Path, write: Write) -> None:
    """Guards a detector of whole classes as one object."""
    write(tmp_path / "images" / "a.jpg", **SIZE)
    mask(tmp_path / "masks" / "a.png")
    with pytest.raises(DataError, match=r"masks of classes and no boxes.*YOLO's layout \(--x\)"):
        open_objects(str(tmp_path), flag="--x")


def test_masks_of_another_shape_or_several_are_refused(tmp_path: Path, write: Write) -> None:
    """Guards masks on their side, and an image that two masks claim."""
    write(tmp_path / "train" / "images" / "a.jpg", height=20, width=10)
    mask(tmp_path / "train" / "masks" / "a.png")
    with pytest.raises(DataError, match="a.jpg has 10 × 20 pixels, but is annotated at 20 × 10"):
        MaskFolderSource(tmp_path, OpenOptions())
    (tmp_path / "train" / "masks" / "a.png").rename(tmp_path / "train" / "masks" / "a.tif")
    mask(tmp_path / "train" / "masks" / "a.bmp")
    with pytest.raises(DataError, match="has the masks a.bmp and a.tif: one is wanted"):
        MaskFolderSource(tmp_path, OpenOptions())


def test_kind_takes_folders_with_masks(tmp_path: Path, write: Write) -> None:
    """Guards folders of YOLO's, VOC's and other annotations, and prefixes."""
    kind = MaskFoldersKind()
    write(tmp_path / "images" / "a.jpg", **SIZE)
    assert not kind.matches(parse_spec(str(tmp_path)))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.5 0.5")
    assert not kind.matches(parse_spec(str(tmp_path)))
    mask(tmp_path / "masks" / "a.png")
    assert kind.matches(parse_spec(str(tmp_path)))
    assert kind.matches_objects(parse_spec(tmp_path))
    assert not kind.matches(parse_spec(f"unlabelled:{tmp_path}"))
    assert kind.annotated_parts(parse_spec(str(tmp_path))) == (("train", True), ("val", True))
