"""Folders in Pascal VOC's layout: what they hold, and which images belong to which part."""

from __future__ import annotations

import logging
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.data.conftest import voc

from massrl.data.catalogue import open_objects, open_source, validation_spec
from massrl.data.sources.voc_lists import VocLayout, holds, voc_layout
from massrl.errors import DataError

Write = Callable[..., Path]


def layout(root: Path) -> VocLayout:
    found = voc_layout(root)
    assert found is not None
    return found


def names(spec: str | Path, split: str = "train") -> list[str]:
    source = open_objects(str(spec), split=split, flag="--x")
    return [Path(source.describe(index)).name for index in range(len(source))]


@pytest.mark.parametrize(
    "line",
    [
        *(
            "i0",
            "i0.png",
            "i0.PNG",
            "./i0.png",
            "JPEGImages\\i0.png",
            "C:\\VOC\\JPEGImages\\i0.png",
        ),
        *("i0.xml", " i0  1", "i0 -1", "i0,1", "i0\t1", '"i0.png"'),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lists_may_be_written_as_other_tools_do(tmp_path: Path, line: str, end: str) -> None:
    """Guards "lacks i0.png": lists with suffixes, folders, marks of classes, commas, and of Windows."""
    root = voc(tmp_path / "set")
    file = root / "ImageSets" / "Main" / "train.txt"
    file.write_bytes(f"{line}{end}i1{end}{end}".encode("utf-8-sig"))
    assert names(root) == ["i0.png", "i1.png"]
    file.write_bytes(f"i1{end}i1{end}".encode("utf-16"))
    assert names(root) == ["i1.png"]


def test_names_with_blanks_and_letters_of_a_mac_are_found(tmp_path: Path) -> None:
    """Guards lists whose letters are composed while the files' are not: images, annotations and classes."""
    name, composed = (unicodedata.normalize(form, "Schöne Katze 1") for form in ("NFD", "NFC"))
    root = voc(tmp_path / "set", (unicodedata.normalize("NFD", "Kätzchen"), "plate"))
    (root / "JPEGImages" / "i0.png").rename(root / "JPEGImages" / f"{name}.png")
    (root / "Annotations" / "i0.xml").rename(root / "Annotations" / f"{composed}.xml")
    (root / "ImageSets" / "Main" / "train.txt").write_text(f"{composed}\n", encoding="utf-8")
    source = open_objects(str(root), flag="--x")
    assert Path(source.describe(0)).name == f"{name}.png"
    assert len(source.scene(0).boxes) == 2
    assert source.object_names == (unicodedata.normalize("NFC", "Kätzchen"), "plate")


def test_set_without_lists_has_parts_that_are_drawn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards sets of labelling tools: the same images for boxes, and left out of pre-training; said.

    To the kind belong: no ``ImageSets``, an empty one, one without ``Main``, and CVAT's ``default.txt``.
    """
    root = voc(tmp_path / "set")
    wanted = None
    for change in (
        lambda: shutil.rmtree(root / "ImageSets"),
        lambda: (root / "ImageSets").mkdir(),
        lambda: (root / "ImageSets" / "Main").mkdir(),
        lambda: (root / "ImageSets" / "Main" / "default.txt").write_text("i0\ni1\n"),
    ):
        change()
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            parts = names(root), names(root, "val")
        assert [len(part) for part in parts] == [4, 1]
        assert sorted([*parts[0], *parts[1]]) == [f"i{number}.png" for number in range(5)]
        assert wanted is None or parts == wanted
        wanted = parts
        source = open_source(str(root))
        assert [Path(source.describe(index)).name for index in range(len(source))] == parts[0]
        assert "4 of its 5 images are drawn for training (seed 0)" in caplog.text
        assert "1 of its 5 images are drawn for validation (seed 0)" in caplog.text
        assert validation_spec(str(root)) == str(root)
        assert layout(root).annotated_parts == [("train", False), ("val", False)]


def test_drawn_parts_have_only_annotated_images(tmp_path: Path) -> None:
    """Guards images that nobody has annotated yet, which are no images without objects."""
    root = voc(tmp_path / "set")
    shutil.rmtree(root / "ImageSets")
    (train, val) = names(root), names(root, "val")
    (root / "Annotations" / train[0].replace("png", "xml")).unlink()
    assert names(root) == train[1:]
    assert len(open_source(str(root))) == 4
    (root / "Annotations" / val[0].replace("png", "xml")).unlink()
    with pytest.raises(
        DataError,
        match=r"no image for 'val' with .*; accepted: JPEGImages/a.jpg with Annotations/a.xml",
    ):
        names(root, "val")


def test_set_with_training_images_alone_has_no_validation_images(tmp_path: Path) -> None:
    """Guards parts that are drawn although somebody has divided the set."""
    root = voc(tmp_path / "set")
    (root / "ImageSets" / "Main" / "test.txt").unlink()
    assert validation_spec(str(root)) is None
    assert names(root) == ["i0.png", "i1.png"]
    with pytest.raises(DataError, match=r"has no list 'val': known: train.* \(--x\)"):
        names(root, "val")


def test_masks_without_a_list_of_their_own_follow_the_main_lists(
    tmp_path: Path, write: Write
) -> None:
    """Guards sets with masks and no ``ImageSets/Segmentation``, whose images are not all masked."""
    root = voc(tmp_path / "set")
    write(root / "SegmentationClass" / "i1.png")
    found = layout(root)
    assert found.annotated("train", maps=True, flag="--x") == ["i1.png"]
    assert found.annotated("train", maps=False, flag="--x") == ["i0.png", "i1.png"]
    with pytest.raises(DataError, match="no image for 'val' with a file in SegmentationClass"):
        found.annotated("val", maps=True, flag="--x")
    assert found.annotated_parts == [
        *((part, maps) for maps in (False, True) for part in ("train", "val"))
    ]


@pytest.mark.parametrize(
    "folders", [("images", "annotations"), ("Images", "Annotations"), ("IMG", "xmls")]
)
def test_other_names_of_the_folders_are_recognised(
    tmp_path: Path, folders: tuple[str, str]
) -> None:
    """Guards the many sets with ``images`` and XML files in ``annotations``."""
    root = voc(tmp_path / "set")
    shutil.rmtree(root / "ImageSets")
    (root / "JPEGImages").rename(root / folders[0])
    (root / "Annotations").rename(root / folders[1])
    assert len(names(root)) == 4
    assert layout(root).images.name == folders[0]


def test_other_folders_are_not_recognised(tmp_path: Path, write: Write) -> None:
    """Guards COCO's ``annotations``, of JSON files, and folders of classes."""
    write(tmp_path / "images" / "a.jpg")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances.json").write_text("{}")
    assert voc_layout(tmp_path) is None
    assert voc_layout(tmp_path / "none") is None
    assert holds(tmp_path / "annotations", ".json")
    assert not holds(tmp_path / "annotations", ".xml")


def test_part_and_list_select_among_all_images(tmp_path: Path) -> None:
    """Guards pre-training: lists of images that are not there are no fault, as of a set in two halves."""
    root = voc(tmp_path / "set")
    (root / "ImageSets" / "Main" / "val.txt").write_text("i1\ngone\n")
    found, files = layout(root), [f"i{number}.png" for number in range(5)]
    assert found.part(files, "val", flag="--x") == [1, 2]
    assert found.part(files, "train", flag="--x") == [0, 3, 4]
    assert found.listed(files, "val", flag="--x") == [1]
    assert found.listed(files, "none", flag="--x") == []
    assert found.files_of(files[:1], maps=False, flag="--x") == [root / "Annotations" / "i0.xml"]


def test_all_images_are_taken_where_others_are_validated_on(tmp_path: Path) -> None:
    """Guards two folders without lists, one of them for validation: of neither is a part drawn.

    A part that is named, as in ``DIR:val``, is drawn all the same.
    """
    root = voc(tmp_path / "set")
    shutil.rmtree(root / "ImageSets")
    for split in ("train", "val"):
        assert len(open_objects(str(root), split=split, flag="--x", draw=False)) == 5
        assert len(open_source(str(root), split=split, draw=False)) == 5
    assert len(open_objects(f"{root}:val", flag="--x", draw=False)) == 1
    assert len(open_source(f"{root}:val", draw=False)) == 1
    assert len(open_source(f"{root}:train")) == 4
