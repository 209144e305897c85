"""YOLO's layout: objects, classes, and the images that are trained and evaluated on."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from massrl.data.catalogue import open_objects, open_source, validation_spec
from massrl.data.sources.base import parse_spec
from massrl.data.sources.yolo import YoloKind, YoloSource
from massrl.data.sources.yolo_files import yolo_set
from massrl.errors import DataError

Write = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path, write: Write) -> Path:
    """Three training images of 20 × 10, one without objects, and one image each to validate and to test."""
    folder = tmp_path / "set"
    for part, stems in (("train", "abc"), ("val", "d"), ("test", "e")):
        for seed, stem in enumerate(stems):
            write(folder / "images" / part / f"{stem}.jpg", seed=ord(stem), height=10, width=20)
            (folder / "labels" / part).mkdir(parents=True, exist_ok=True)
            if stem != "c":
                text = f"1 0.5 0.5 0.2 0.4\n{seed} 0.1 0.1 0.6 0.2\n"
                (folder / "labels" / part / f"{stem}.txt").write_text(text)
    (folder / "data.yaml").write_text("names: [cat, dog]\ntrain: images/train\nval: images/val\n")
    return folder


def test_objects_are_in_pixels_and_clipped(root: Path) -> None:
    """Guards boxes that are fractions, or beyond the edge; the numbers are worked out by hand."""
    source = open_objects(str(root), flag="--x")
    assert (source.name, len(source), source.object_names) == ("set/train", 3, ("cat", "dog"))
    scene = source.scene(0)
    assert scene.image.shape == (10, 20, 3)
    assert np.allclose(scene.boxes, [[8, 3, 12, 7], [0, 0, 8, 2]])
    assert scene.labels.tolist() == [1, 0]
    assert scene.crowd.tolist() == [False, False]
    assert source.scene(2).boxes.shape == (0, 4)
    assert source.image_labels().tolist() == [[1, 1], [0, 1], [0, 0]]
    val = open_objects(str(root / "data.yaml"), split="val", flag="--x")
    assert [Path(val.describe(index)).stem for index in range(len(val))] == ["d"]


def test_images_without_objects_are_those_of_training(root: Path) -> None:
    """Guards pre-training on validation and test images."""
    source = open_source(str(root))
    assert source.labels is None
    assert sorted(Path(source.describe(index)).stem for index in range(3)) == ["a", "b", "c"]
    assert len(source) == 3
    assert len(open_source(str(root), split="val")) == 1
    assert validation_spec(str(root)) == str(root)
    (root / "data.yaml").write_text("names: [cat, dog]\ntrain: images/train\n")
    assert validation_spec(str(root)) is None


def test_set_that_is_not_divided_is_evaluated_on_other_images_than_it_is_trained_on(
    tmp_path: Path, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards the export of labelling tools, ``images/`` and ``labels/`` with ``classes.txt``."""
    for number in range(10):
        write(tmp_path / "images" / f"{number}.jpg")
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / f"{number}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    with caplog.at_level(logging.WARNING):
        parts = [open_objects(str(tmp_path), split=part, flag="--x") for part in ("train", "val")]
    names = [{part.describe(index) for index in range(len(part))} for part in parts]
    assert (len(names[0]), len(names[1]), names[0] & names[1]) == (8, 2, set())
    assert {open_source(tmp_path).describe(index) for index in range(8)} == names[0]
    assert "2 of its 10 images are drawn for validation (seed 0)" in caplog.text
    assert "classes are called by their numbers" in caplog.text
    assert parts[0].object_names == ("0",)


def test_text_files_are_found_whatever_the_letters(tmp_path: Path, write: Write) -> None:
    """Guards labels of a Mac for images of Linux, images in sub-folders, and labels beside images."""
    names = [unicodedata.normalize(form, "Ångström") for form in ("NFC", "NFD")]
    write(tmp_path / "images" / "train" / "x" / f"{names[0]}.JPG")
    (tmp_path / "labels" / "train" / "x").mkdir(parents=True)
    (tmp_path / "labels" / "train" / "x" / f"{names[1]}.txt").write_text("0 0.5 0.5 0.5 0.5")
    (tmp_path / "data.yaml").write_text("nc: 1\nnames: [cat]\ntrain: images/train\n")
    assert len(open_objects(str(tmp_path), flag="--x").scene(0).boxes) == 1
    write(tmp_path / "loose" / "a.jpg")
    (tmp_path / "loose" / "a.txt").write_text("0 0.5 0.5 0.5 0.5")
    (tmp_path / "data.yaml").write_text("nc: 1\nnames: [cat]\ntrain: loose\n")
    assert len(open_objects(str(tmp_path), flag="--x").scene(0).boxes) == 1


def test_classes_are_numbered_as_those_of_the_training_images(root: Path) -> None:
    """Guards validation images of another ``data.yaml``, whose classes have another order."""
    source = open_objects(str(root), flag="--x")
    source.set_object_names(("dog", "bird", "cat"))
    assert source.scene(0).labels.tolist() == [0, 2]
    assert source.used_names == ("dog", "cat")
    assert source.object_names == ("dog", "bird", "cat")


def test_unusable_objects_are_counted(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Guards objects that vanish without a word."""
    (root / "labels" / "train" / "b.txt").write_text("0 0.5 0.5 0 0.2\n1 0.5 0.5 0.2 0.2\n")
    with caplog.at_level(logging.WARNING):
        source = open_objects(str(root), flag="--x")
    assert "objects are left out: 1 without width or height in the image" in caplog.text
    assert isinstance(source, YoloSource)
    assert source.object_counts().tolist() == [2, 1, 0]


def test_set_without_usable_labels_is_refused(root: Path) -> None:
    """Guards a detector of nothing, and classes that no file names."""
    for file in (root / "labels" / "train").iterdir():
        file.write_text("2 0.5 0.5 0.2 0.2\n")
    with pytest.raises(DataError, match=r"objects of class 2, but .* names 2 classes.*\(--x\)"):
        open_objects(str(root), flag="--x")
    for file in (root / "labels" / "train").iterdir():
        file.write_text("")
    with pytest.raises(DataError, match=r"no objects in its text files \(--x\)"):
        open_objects(str(root), flag="--x")
    for file in (root / "labels" / "train").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"has a text file; accepted: images/a.jpg beside.*\(--x\)"):
        open_objects(str(root), flag="--x")


def test_kind_takes_folders_and_data_files_without_a_prefix(root: Path) -> None:
    """Guards ``unlabelled:DIR``, which takes the training images whatever the layout."""
    kind = YoloKind()
    assert kind.matches(parse_spec(str(root)))
    assert kind.matches_objects(parse_spec(str(root / "data.yaml")))
    assert not kind.matches(parse_spec(f"unlabelled:{root}"))
    assert not kind.matches(parse_spec("cifar10"))
    assert len(open_source(f"unlabelled:{root}")) == 3
    assert yolo_set(root) is not None
