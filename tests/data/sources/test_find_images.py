"""Finding image files, and the parts of a divided folder."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from massrl.data.sources.find_images import (
    divided,
    enter_split,
    find_images,
    has_validation_part,
    role,
    roles,
    subfolder,
    subfolders,
    warn_of_other_images,
)
from massrl.errors import DataError


def test_loop_of_links_is_listed_once(pets: Path) -> None:
    """Guards a listing that never ends."""
    (pets / "cat" / "up").symlink_to(pets, target_is_directory=True)
    (pets / "dog" / "self").symlink_to(pets / "dog", target_is_directory=True)
    names, _ = find_images(pets)
    assert names == ["cat/a.PNG", "cat/b.jpg", "dog/c.webp", "dog/d.bmp", "dog/e.gif"]


def test_links_to_other_folders_are_followed(tmp_path: Path, pets: Path) -> None:
    """Guards data sets that are put together out of links."""
    linked = tmp_path / "linked"
    linked.mkdir()
    for name in ("one", "two"):
        (linked / name).symlink_to(pets / "dog", target_is_directory=True)
    (linked / "one.jpg").symlink_to(pets / "cat" / "b.jpg")
    names, _ = find_images(linked)
    assert len(names) == 7
    assert names[:2] == ["one.jpg", "one/c.webp"]


def test_many_files_are_listed_in_reasonable_time(tmp_path: Path) -> None:
    """Guards a listing that costs a stat or an object per file: a million must take seconds."""
    for folder in range(5):
        (tmp_path / f"c{folder}").mkdir()
        for index in range(200):
            (tmp_path / f"c{folder}" / f"{index}.jpg").touch()
    start = time.perf_counter()
    names, _ = find_images(tmp_path)
    assert len(names) == 1000
    assert time.perf_counter() - start < 1.0  # a millisecond per file; a few microseconds are usual


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipe_with_the_name_of_an_image_is_ignored(pets: Path) -> None:
    """Guards a read that blocks for ever."""
    os.mkfifo(pets / "cat" / "pipe.jpg")
    names, ignored = find_images(pets)
    assert (len(names), ignored) == (5, ["cat/pipe.jpg"])


def test_hidden_files_are_skipped_and_others_are_listed_as_ignored(
    pets: Path, write: Callable[..., Path]
) -> None:
    """Guards macOS' resource forks taken for broken images, and text files skipped without a word."""
    for name in [".hidden.jpg", "__MACOSX/cat/a.jpg", ".git/x.jpg", "cat/._b.jpg"]:
        write(pets / name)
    (pets / "Thumbs.db").write_bytes(b"x")
    (pets / "cat" / "notes.txt").write_text("x")
    (pets / "LICENSE").write_text("x")
    names, ignored = find_images(pets)
    assert len(names) == 5
    assert ignored == ["LICENSE", "cat/notes.txt"]


def test_missing_folder_is_refused_with_the_flag(tmp_path: Path) -> None:
    """Guards against a traceback of the operating system's error."""
    with pytest.raises(DataError, match=r"none cannot be read \(No such file.*\(--x\)"):
        find_images(tmp_path / "none", flag="--x")


@pytest.mark.parametrize(
    ("folders", "split", "part"),
    [
        (("train", "val"), "train", "train"),
        (("train", "val"), "val", "val"),
        (("train", "validation"), "val", "validation"),
        (("train", "valid"), "val", "valid"),
        (("train", "val", "test"), "val", "val"),
        (("train", "test"), "val", "test"),
        (("train", "val"), "whole", ""),
        (("train", "val"), "unlabelled", ""),
        (("train", "val", "unlabeled"), "unlabelled", "unlabeled"),
        (("train",), "train", "train"),
        (("train", "__MACOSX", ".git"), "train", "train"),
        (("train", "bus"), "train", ""),
        (("val", "bus"), "val", ""),
        (("Train", "Test"), "train", "Train"),
        (("Train", "Test"), "val", "Test"),
        (("TRAINING", "testing"), "train", "TRAINING"),
        (("TRAINING", "testing"), "val", "testing"),
        (("training", "VALIDATION", "test"), "val", "VALIDATION"),
        (("train2017", "val2017", "annotations"), "train", "train2017"),
        (("train_images", "test_images"), "val", "test_images"),
        (("train", "train_2", "val"), "train", "train"),
        (("images/train", "images/val", "labels/train"), "train", "images/train"),
        (("Images/Training", "Images/Test"), "val", "Images/Test"),
        (("images/a", "images/b"), "train", ""),
        (("images/train", "images/val", "test", "labels"), "train", "images/train"),
        (("images", "test", "bus"), "train", ""),
        (("test", "bus", "car"), "train", ""),
        (("test", "bus", "car"), "val", ""),
        (("devil", "tested", "trained", "valley"), "train", ""),
    ],
)
def test_part_of_a_folder_follows_its_division(
    tmp_path: Path, folders: tuple[str, ...], split: str, part: str
) -> None:
    """Guards training on validation images, and a class that is called train."""
    for name in folders:
        (tmp_path / name).mkdir(parents=True)
    assert enter_split(tmp_path, split=split, flag="--x") == tmp_path / part


def test_missing_part_is_refused_with_the_accepted_names(tmp_path: Path) -> None:
    """Guards validation images that are silently the training images."""
    (tmp_path / "train").mkdir()
    with pytest.raises(
        DataError, match=r"none of val/, validation/, valid/, test/; .*DIR/val/CLASS.*\(--x\)"
    ):
        enter_split(tmp_path, split="val", flag="--x")
    with pytest.raises(DataError, match="cannot be read"):
        enter_split(tmp_path / "none", split="val", flag="--x")


def test_validation_part_needs_both_parts(tmp_path: Path) -> None:
    """Guards a folder of classes, and a path that is no folder."""
    assert not has_validation_part(tmp_path / "none")
    (tmp_path / "val").mkdir()
    assert not has_validation_part(tmp_path)
    (tmp_path / "train").mkdir()
    assert has_validation_part(tmp_path)


@pytest.mark.parametrize(
    "names",
    [("test",), ("Testing",), ("val", "test"), ("valid",), ("test_images", "images", "masks")],
)
def test_test_images_alone_are_never_training_images(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    """Guards pre-training on test images, where the training images are elsewhere or are missing.

    The folder of test images itself may be given, as that is what the user then asks for.
    """
    for name in names:
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=r"has .* but none of train/; .*DIR/train/CLASS.*\(--x\)"):
        enter_split(tmp_path, split="train", flag="--x")
    assert enter_split(tmp_path, split="whole", flag="--x") == tmp_path
    assert enter_split(tmp_path / names[0], split="train", flag="--x") == tmp_path / names[0]


def test_several_training_folders_are_refused(tmp_path: Path) -> None:
    """Guards one of two parts that is taken by chance: COCO's of 2014 and of 2017."""
    for name in ("train2014", "train2017", "val2017"):
        (tmp_path / name).mkdir()
    with pytest.raises(
        DataError, match=r"train2014/, train2017/: accepted is one of them.*\(--x\)"
    ):
        enter_split(tmp_path, split="train", flag="--x")
    assert divided(tmp_path, flag="--x")[1]["val"] == ["val2017"]


def test_test_folders_further_down_are_not_entered(
    tmp_path: Path, write: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Guards sets that are divided within each class or product, as MVTec's are, at any depth."""
    names = ["bottle/train/good/a.png", "bottle/test/broken/b.png", "bottle/ground_truth/b.png"]
    for name in [*names, "cable/Train/a.png", "cable/Validation/b.png", "test/deep/c.png"]:
        write(tmp_path / name)
    with caplog.at_level(logging.WARNING):
        images, _ = find_images(tmp_path, held_out=False)
    assert images == [names[2], names[0], "cable/Train/a.png", "test/deep/c.png"]
    assert (
        "2 folders of validation or test images are left out, such as bottle/test/" in caplog.text
    )
    assert len(find_images(tmp_path)[0]) == 6


def test_images_that_are_not_read_are_counted_by_suffix(
    tmp_path: Path, write: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Guards a telephone's HEIC files among JPEGs, which nobody misses for months.

    To the kind belong raw files of cameras, formats of other programs, upper-case suffixes, and images
    without any suffix; text files and folders are no images.
    """
    for name in ("a.HEIC", "b.heic", "c.CR2", "d.avif", "notes.txt", "Makefile"):
        (tmp_path / name).write_bytes(b"x")
    write(tmp_path / "e.jpg").rename(tmp_path / "IMG_0001")
    write(tmp_path / "f.jpg")
    names, ignored = find_images(tmp_path)
    assert names == ["f.jpg"]
    with caplog.at_level(logging.WARNING):
        warn_of_other_images("photos", tmp_path, ignored)
        warn_of_other_images("photos", tmp_path, ["notes.txt", "gone"])
    (record,) = caplog.records
    message = record.getMessage()
    assert "photos: images left out: 5 (.heic 2, .cr2 1, .avif 1, without a suffix 1)" in message
    assert "convert or rename the others" in message


def test_subfolders_are_found_whatever_their_case(tmp_path: Path) -> None:
    """Guards ``Images`` and ``IMAGES``, which Windows takes for ``images``."""
    (tmp_path / "IMAGES").mkdir()
    (tmp_path / ".git").mkdir()
    found = subfolder(tmp_path, ("imgs", "images"))
    assert found is not None
    assert found.samefile(tmp_path / "IMAGES")
    assert subfolder(tmp_path, ("labels",)) is None
    assert subfolders(tmp_path) == ["IMAGES"]


def test_roles_are_told_by_whole_names() -> None:
    """Guards classes whose names only begin like that of a part."""
    assert [role(name) for name in ("Training", "dev", "test-2017", "seg_test")] == [
        *("train", "val", "test", "test")
    ]
    assert [role(name) for name in ("trainA", "testB", "trn", "tst", "holdout", "hold-out")] == [
        *("train", "test", "train", "test", "test", "test")
    ]
    assert [role(name) for name in ("trainer", "value", "latest", "2017", "")] == [""] * 5
    assert roles(["train", "unlabelled"]) == {"train": ["train"], "unlabelled": ["unlabelled"]}
    assert roles(["a", "train"]) == roles([]) == roles(["unlabelled"]) == {}
