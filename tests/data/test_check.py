"""Checking every image of a source: what is broken, sizes, duplicates."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

from massrl.data.catalogue import open_source
from massrl.data.check import check_source, drop_broken
from massrl.data.source import Subset
from massrl.data.sources.shapes import ShapesSource

Write = Callable[..., Path]


def test_every_broken_file_is_listed(odd_folder: Path) -> None:
    """Guards a broken file against being found at the thousandth step."""
    (odd_folder / "notes.md").write_text("x")
    report = check_source(open_source(str(odd_folder)), workers=2)
    assert not report.ok
    assert (report.num_images, len(report.broken)) == (7, 3)
    assert [Path(name).name for name, _ in report.broken] == [
        "empty.jpg", "text.jpg", "truncated.jpg",
    ]  # fmt: skip
    reasons = [reason for _, reason in report.broken]
    assert reasons[0] == "empty file"
    assert "not an image" in reasons[1]
    assert "truncated" in reasons[2]
    assert report.suffixes == {".jpg": 4, ".png": 2, ".jpeg": 1}
    assert report.kinds == {"JPEG CMYK": 1, "PNG grey 16-bit": 1, "PNG RGB": 1, "JPEG RGB": 1}
    assert report.short_sides == (1, 48, 48)
    assert report.long_sides == (1, 64, 64)
    assert report.ignored == ("notes.md",)
    text = "\n".join(report.lines())
    assert "7 images, 4 readable, 3 broken" in text
    assert text.count("broken: ") == 3
    assert f"{odd_folder / 'empty.jpg'}: empty file" in text
    assert "ignored, not an image: notes.md" in text


def test_classes_and_sizes_are_counted(tmp_path: Path, write: Write) -> None:
    """Guards sides taken from stored instead of decoded pixels, and classes miscounted."""
    for seed, (name, height) in enumerate([("a/x.jpg", 10), ("a/y.jpg", 20), ("b/z.jpg", 60)]):
        write(tmp_path / name, seed=seed, height=height, width=40)
    report = check_source(open_source(str(tmp_path)))
    assert report.ok
    assert report.short_sides == (10, 20, 40)
    assert report.long_sides == (40, 40, 60)
    assert report.class_counts == {"a": 2, "b": 1}
    assert report.duplicates == ()
    assert "classes: 2, with 1 to 2 images each" in report.lines()


def test_files_of_the_same_content_are_grouped(tmp_path: Path, write: Write) -> None:
    """Guards duplicates missed, and unreadable files taken for duplicates."""
    for name, seed in [("a.jpg", 0), ("b.jpg", 1), ("c.jpg", 2)]:
        write(tmp_path / name, seed=seed)
    shutil.copy(tmp_path / "b.jpg", tmp_path / "sub.jpg")
    shutil.copy(tmp_path / "b.jpg", tmp_path / "z.jpg")
    for name in ("gone1.jpg", "gone2.jpg"):
        (tmp_path / name).symlink_to(tmp_path / "nowhere")
    report = check_source(open_source(str(tmp_path)))
    groups = [[Path(name).name for name in group] for group in report.duplicates]
    assert groups == [["b.jpg", "sub.jpg", "z.jpg"]]
    assert len(report.broken) == 2


def test_chunks_are_complete_and_in_order() -> None:
    """Guards images lost between chunks of the thread pool, and a progress that never ends."""
    source = Subset(ShapesSource(150, 16), [*range(150), 7])
    seen: list[tuple[int, int]] = []
    report = check_source(
        source, workers=1, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(64, 151), (128, 151), (151, 151)]
    assert report.num_images == sum(report.kinds.values()) == 151
    assert report.duplicates == (("shapes/train[7]", "shapes/train[7]"),)
    assert sum(report.class_counts.values()) == 151
    assert report.suffixes == {}


def test_report_does_not_depend_on_the_number_of_threads(odd_folder: Path) -> None:
    """Guards findings that are attributed to another image."""
    source = open_source(str(odd_folder))
    assert check_source(source, workers=1) == check_source(source, workers=4)


def test_folder_of_broken_files_has_a_report(tmp_path: Path) -> None:
    """Guards a median of nothing."""
    (tmp_path / "a.jpg").write_bytes(b"")
    report = check_source(open_source(str(tmp_path)))
    assert (report.short_sides, report.long_sides, report.kinds) == (None, None, {})
    assert report.lines()[0].endswith("1 image, 0 readable, 1 broken")


def test_long_lists_of_ignored_files_are_shortened(tmp_path: Path, write: Write) -> None:
    """Guards a broken file hidden among a thousand ignored ones."""
    write(tmp_path / "a.jpg")
    for index in range(25):
        (tmp_path / f"{index}.txt").write_text("x")
    lines = check_source(open_source(str(tmp_path))).lines()
    assert sum(line.startswith("ignored") for line in lines) == 10
    assert lines[-1] == "15 more ignored files"
    assert np.all([len(line) > 0 for line in lines])


def test_broken_images_are_dropped_and_counted(odd_folder: Path) -> None:
    """Guards ``--data.on_error skip`` in evaluation: labels must stay with their images."""
    source = open_source(str(odd_folder))
    readable, broken = drop_broken(source, workers=2)
    assert (len(readable), broken) == (4, 3)
    names = [Path(readable.describe(index)).name for index in range(4)]
    assert names == ["cmyk.jpg", "deep.png", "dot.png", "with space é.jpeg"]
    assert drop_broken(ShapesSource(5, 16))[1] == 0


def test_images_that_validation_images_repeat_are_listed(tmp_path: Path, write: Write) -> None:
    """Guards validation images that are copies of training images under other names."""
    for seed in range(3):
        write(tmp_path / "train" / f"{seed}.jpg", seed=seed)
        write(tmp_path / "val" / f"{seed}.jpg", seed=seed + 2)
    train, val = open_source(tmp_path / "train"), open_source(tmp_path / "val")
    report = check_source(train, parts=(train, val))
    names = (str(tmp_path / "train" / "2.jpg"), str(tmp_path / "val" / "0.jpg"))
    assert report.shared == (names,)
    assert not report.ok
    assert f"also in validation: {names[0]} = {names[1]}" in report.lines()
    assert check_source(train).shared == ()


def test_kinds_that_are_not_accepted_are_counted_with_their_ranges(tmp_path: Path) -> None:
    """Guards satellites and CT: what the files are, how many, and from where to where their samples go.

    Also of the kind: accepted pictures of 16 bits, of which 12 are used; they would come out dark.
    """
    draw = np.random.default_rng(0)
    bands = [draw.integers(5, 3000, (9, 8, 13), dtype=np.uint16) for _ in range(3)]
    for number, samples in enumerate(bands):
        file = tmp_path / f"bands{number}.tif"
        tifffile.imwrite(file, samples, photometric="minisblack", planarconfig="contig")
    scan = draw.integers(-1000, 3000, (9, 8), dtype=np.int16)
    tifffile.imwrite(tmp_path / "scan.tif", scan, photometric="minisblack")
    grey = draw.integers(0, 4096, (9, 8), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "grey.tif", grey, photometric="minisblack")
    report = check_source(open_source(str(tmp_path)))
    assert report.refused_kinds == {"TIFF 13 bands 16-bit": 3, "TIFF grey 16-bit signed": 1}
    assert report.kinds == {"TIFF grey 16-bit": 1}
    all_bands = np.stack(bands)
    assert report.value_ranges == {
        "TIFF 13 bands 16-bit": (all_bands.min(), all_bands.max()),
        "TIFF grey 16-bit signed": (scan.min(), scan.max()),
        "TIFF grey 16-bit": (grey.min(), grey.max()),
    }
    text = "\n".join(report.lines())
    assert "kinds that are not accepted: TIFF 13 bands 16-bit 3, TIFF grey 16-bit signed 1" in text
    assert f"TIFF grey 16-bit {grey.min()} to {grey.max()}" in text
    assert len(report.broken) == 4
