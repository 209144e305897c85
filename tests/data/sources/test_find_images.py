"""Finding image files, and the parts of a divided folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from massrl.data.sources.find_images import enter_split, find_images, has_validation_part
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
    ],
)
def test_part_of_a_folder_follows_its_division(
    tmp_path: Path, folders: tuple[str, ...], split: str, part: str
) -> None:
    """Guards training on validation images, and a class that is called train."""
    for name in folders:
        (tmp_path / name).mkdir()
    assert enter_split(tmp_path, split=split, flag="--x") == tmp_path / part


def test_missing_part_is_refused_with_the_accepted_names(tmp_path: Path) -> None:
    """Guards validation images that are silently the training images."""
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=r"none of val/, validation/, valid/, test/ \(--x\)"):
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
