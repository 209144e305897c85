"""Images that are in two sources: the same files, and the same contents under other names."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import photos

from massrl.data.catalogue import open_source
from massrl.data.overlap import check_disjoint, same_contents, warn_of_same_contents
from massrl.data.pack import pack
from massrl.data.source import CIFAR10_NORMALIZATION, Source, Subset
from massrl.data.sources.arrays import ArraySource
from massrl.errors import DataError

Write = Callable[..., Path]


def array(images: np.ndarray) -> Source:
    return ArraySource(
        "x", images, labels=None, class_names=(), normalization=CIFAR10_NORMALIZATION
    )


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Path, Path]:
    """Ten training and six validation images, of which two are copies and one only has the same size."""
    train = photos(tmp_path / "train", "a", "b")
    val = photos(tmp_path / "val", "a", "b", count=3, seed=1)
    shutil.copy(train / "a" / "4.png", val / "b" / "copied.png")
    shutil.copy(train / "b" / "0.png", val / "a" / "again.png")
    size = (train / "a" / "0.png").stat().st_size
    (val / "a" / "2.png").write_bytes(b"x" * size)
    return train, val


def test_copies_are_found_by_their_bytes(parts: tuple[Path, Path]) -> None:
    """Guards test images that were trained on under another name; as SHA-256 of all files tells."""

    def hashes(folder: Path) -> dict[str, str]:
        files = sorted(folder.rglob("*.png"))
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    train, val = (hashes(folder) for folder in parts)
    wanted = {(one, other) for one in train for other in val if train[one] == val[other]}
    sources = [open_source(folder) for folder in parts]
    pairs, compared = same_contents(*sources)
    assert {
        (sources[0].describe(one), sources[1].describe(other)) for one, other in pairs
    } == wanted
    assert (len(wanted), compared) == (2, 8)


def test_copies_are_found_in_shards_arrays_and_subsets(
    parts: tuple[Path, Path], tmp_path: Path
) -> None:
    """Guards the kinds of sources beside folders."""
    train, val = (open_source(folder) for folder in parts)
    pack(train, tmp_path / "packed")
    packed = open_source(f"{tmp_path / 'packed'}-*.tar")
    assert len(same_contents(packed, val)[0]) == 2
    assert len(same_contents(Subset(train, [4, 6]), Subset(val, range(8)))[0]) == 1
    images = np.random.default_rng(0).integers(0, 255, (6, 4, 4, 3), np.uint8)
    assert same_contents(array(images[:4]), array(images[3:])) == ([(3, 0)], 3)


def test_images_that_are_rendered_are_not_compared(parts: tuple[Path, Path]) -> None:
    """Guards a start that renders thousands of images only to compare them."""
    source = open_source("shapes(count=4,size=16)")
    assert same_contents(source, source) == ([], 0)
    assert same_contents(open_source(parts[0]), source) == ([], 0)


def test_large_sets_are_compared_in_part(parts: tuple[Path, Path]) -> None:
    """Guards the start of an evaluation on a million images against reading all of them."""
    images = np.zeros((1000, 4, 4, 3), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.arange(1000) // 256, np.arange(1000) % 256
    pairs, compared = same_contents(array(images), array(images), most_bytes=48 * 200)
    assert 1 <= compared < 1000
    assert len(pairs) == compared
    assert same_contents(array(images), array(images))[1] == 1000
    train, val = (open_source(folder) for folder in parts)
    assert len(same_contents(train, val, most_bytes=1 << 29)[0]) == 2


def test_unreadable_images_have_no_content(tmp_path: Path, write: Write) -> None:
    """Guards two missing files, both of no size, against being the same image."""
    for part in ("x", "y"):
        write(tmp_path / part / "a.jpg", seed=len(part) + ord(part))
        (tmp_path / part / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    assert same_contents(open_source(tmp_path / "x"), open_source(tmp_path / "y")) == ([], 2)


def test_warning_counts_and_shows_copies(
    parts: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Guards figures that are too good, without a word."""
    train, val = (open_source(folder) for folder in parts)
    with caplog.at_level(logging.WARNING):
        warn_of_same_contents(train, val)
    (record,) = caplog.records
    message = record.getMessage()
    assert message.startswith("2 of 8 test images of val have the same content as training images")
    assert f"{parts[1] / 'b' / 'copied.png'} = {parts[0] / 'a' / '4.png'}" in message
    caplog.clear()
    warn_of_same_contents(train, open_source(photos(parts[0].parent / "other", "a", seed=9)))
    assert not caplog.records


def test_the_same_files_are_refused(parts: tuple[Path, Path], tmp_path: Path) -> None:
    """Guards a k-NN accuracy of 100 percent; a link is the same file, a file of the same name is not."""
    train, val = (open_source(folder) for folder in parts)
    check_disjoint(train, val)
    (tmp_path / "link").symlink_to(parts[0])
    with pytest.raises(DataError, match="10 of 10 images of train are among the training images"):
        check_disjoint(train, open_source(tmp_path / "link"))
