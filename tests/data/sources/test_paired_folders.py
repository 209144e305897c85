"""Folders of images with annotations beside them: recognised layouts, and which images are whose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from massrl.data.sources.base import OpenOptions
from massrl.data.sources.paired_folders import (
    beside,
    folders_of,
    has_validation,
    holds,
    image_parts,
    images_of,
)
from massrl.errors import DataError

Write = Callable[..., Path]
NAMES, SUFFIXES = ("labels",), (".txt",)

LAYOUTS = {
    "parts within": ("images/train/a.jpg", "images/val/b.jpg", "labels/train/a.txt"),
    "parts above": (
        "train/images/a.jpg",
        "train/labels/a.txt",
        "valid/images/b.jpg",
        "valid/labels/b.txt",
    ),
    "any case": ("Images/Training/a.jpg", "Images/TEST/b.jpg", "Labels/training/a.txt"),
}


@pytest.fixture(params=LAYOUTS)
def root(tmp_path: Path, write: Write, request: pytest.FixtureRequest) -> Path:
    """A set in each layout: one image to train on, one to validate on."""
    for name in LAYOUTS[request.param]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path) if path.suffix == ".jpg" else path.write_text("x")
    return tmp_path


def test_layouts_are_recognised_in_any_case(root: Path) -> None:
    """Guards the common layouts of annotation tools, each with parts that others name otherwise."""
    parts = image_parts(root, NAMES, SUFFIXES)
    assert has_validation(parts)
    for split, stem in (("train", "a"), ("val", "b")):
        (path,) = images_of(parts, OpenOptions(split=split), root=root)
        assert path.stem == stem
    assert len(images_of(parts, OpenOptions(split="whole"), root=root)) == 2
    (folder,) = folders_of(parts, "train", root=root, flag="--x")
    labels = beside(folder, NAMES, SUFFIXES)
    assert labels is not None
    assert (labels / "a.txt").is_file()


def test_set_without_parts_has_drawn_ones(tmp_path: Path, write: Write) -> None:
    """Guards validation images that are trained on, where nobody has divided the set."""
    for number in range(10):
        write(tmp_path / "images" / f"{number}.jpg")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "1.txt").write_text("x")
    parts = image_parts(tmp_path, NAMES, SUFFIXES)
    assert has_validation(parts)
    train, val, all_images = (
        images_of(parts, OpenOptions(split=split), root=tmp_path)
        for split in ("train", "val", "whole")
    )
    assert (len(train), len(val)) == (8, 2)
    assert sorted([*train, *val]) == all_images
    assert images_of(parts, OpenOptions(draw=False), root=tmp_path) == all_images


def test_other_folders_are_not_recognised(tmp_path: Path, write: Write) -> None:
    """Guards classes that are called images and labels, and annotations of another format."""
    assert image_parts(tmp_path, NAMES, SUFFIXES) == {}
    for name in ("images/a.jpg", "labels/b.jpg", "train/a.jpg"):
        write(tmp_path / name)
    assert image_parts(tmp_path, NAMES, SUFFIXES) == {}
    assert not holds(tmp_path / "labels", SUFFIXES)
    assert holds(tmp_path, (".jpg",))
    assert beside(tmp_path / "train", NAMES, SUFFIXES) is None


def test_missing_part_is_refused_with_the_layout(tmp_path: Path, write: Write) -> None:
    """Guards an evaluation on training images, for want of others."""
    for name in ("images/train/a.jpg", "labels/train/a.txt"):
        write(tmp_path / name)
    parts = image_parts(tmp_path, NAMES, SUFFIXES)
    assert not has_validation(parts)
    with pytest.raises(
        DataError, match=r"no validation images; accepted: DIR/images/train/a.jpg.*\(--x\)"
    ):
        images_of(parts, OpenOptions(split="val", flag="--x"), root=tmp_path)
    (tmp_path / "images" / "train" / "a.jpg").unlink()
    with pytest.raises(DataError, match=r"no images in .*train \(--x\)"):
        images_of(parts, OpenOptions(flag="--x"), root=tmp_path)
