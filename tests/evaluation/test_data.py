"""Images that a backbone is evaluated on: which ones, never the same twice, and without broken ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import photos
from tests.data.conftest import voc

from massrl.config.evaluation import EvaluationDataConfig
from massrl.config.parser import make_config
from massrl.config.sections import DataConfig
from massrl.data.annotated import ObjectSource
from massrl.data.catalogue import open_source
from massrl.data.pack import pack
from massrl.errors import DataError, ImageError
from massrl.evaluation.data import (
    align_labels,
    annotated_images,
    labelled_images,
    open_images,
    short_names,
    transfer_images,
    validation_source,
    with_skip_hint,
)


def test_folder_given_as_labelled_has_no_validation_part_by_its_prefix(tmp_path: Path) -> None:
    """Guards ``labelled:DIR`` against being taken for a data set called labelled."""
    folder = photos(tmp_path / "photos", "a", "b")
    assert validation_source(DataConfig(train=f"labelled:{folder}")) is None
    assert validation_source(DataConfig(train=f"unlabelled:{folder}")) is None


def test_validation_images_without_labels_are_refused_where_they_were_asked_for(
    tmp_path: Path,
) -> None:
    """Guards a run against a probe that silently never comes."""
    photos(tmp_path / "photos", "a", "b")
    unlabelled = f"unlabelled:{photos(tmp_path / 'val', 'a', 'b')}"
    data = DataConfig(train=str(tmp_path / "photos"), val=unlabelled)
    with pytest.raises(DataError, match="no labels to evaluate on.*--data.val"):
        validation_source(data)


def test_images_of_one_class_are_not_said_to_have_no_labels(tmp_path: Path) -> None:
    """Guards a user who looks for labels that are there.

    The kind: a folder of one class as training images, as test images, by a prefix, and in a list.
    """
    one, two = photos(tmp_path / "one", "cats"), photos(tmp_path / "two", "cats", "dogs")
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"one/cats/{number}.png\tcats\n" for number in range(5)))
    told = r"has one class only, 'cats', and two or more are needed to evaluate on"
    for train in (str(one), f"labelled:{one}", str(listed)):
        with pytest.raises(DataError, match=f"{told}.*--data.train"):
            labelled_images(EvaluationDataConfig(train=train), None)
    with pytest.raises(DataError, match=f"{told}.*--data.val"):
        labelled_images(EvaluationDataConfig(train=str(two), val=str(one)), None)
    with pytest.raises(DataError, match="has no labels to evaluate on"):
        labelled_images(EvaluationDataConfig(train=f"unlabelled:{two}"), None)


def test_divided_folder_is_evaluated_on_its_own_part(tmp_path: Path) -> None:
    """Guards against holding out of train/ while val/ is beside it."""
    photos(tmp_path / "split" / "train", "a", "b")
    photos(tmp_path / "split" / "val", "a", "b", count=3, seed=1)
    data = labelled_images(EvaluationDataConfig(train=str(tmp_path / "split")), None)
    assert (len(data.train), len(data.test), data.held_out) == (10, 6, False)


def test_images_that_were_held_out_are_marked(tmp_path: Path) -> None:
    """Guards a report that calls images new which the backbone was trained on."""
    folder = str(photos(tmp_path / "photos", "a", "b"))
    data = labelled_images(EvaluationDataConfig(train=folder), None)
    assert (len(data.train), len(data.test), data.held_out) == (8, 2, True)


def test_test_images_among_the_training_images_are_refused(tmp_path: Path) -> None:
    """Guards a k-NN accuracy of 100 percent."""
    folder = str(photos(tmp_path / "photos", "a", "b"))
    for limit in (None, 4):
        with pytest.raises(DataError, match="are among the training images"):
            labelled_images(EvaluationDataConfig(train=folder, val=folder, limit=limit), None)


def test_images_behind_a_link_or_in_shards_are_the_same(tmp_path: Path) -> None:
    """Guards the same against another way to the very images."""
    train = photos(tmp_path / "photos", "a", "b")
    (tmp_path / "link").symlink_to(train)
    pack(open_source(train), tmp_path / "packed")
    for val in (tmp_path / "link", f"{tmp_path / 'packed'}-*.tar"):
        with pytest.raises(DataError, match="same images|among the training images"):
            labelled_images(EvaluationDataConfig(train=str(train), val=str(val)), None)


def test_images_of_equal_names_and_sizes_elsewhere_are_others(tmp_path: Path) -> None:
    """Guards two folders that number their files alike against being taken for one."""
    train = photos(tmp_path / "x", "a", "b")
    shutil.copytree(train, tmp_path / "y")
    config = EvaluationDataConfig(train=str(train), val=str(tmp_path / "y"))
    data = labelled_images(config, None)
    assert len(data.train) == len(data.test) == 10


def test_field_that_is_not_set_is_as_in_the_run(tmp_path: Path) -> None:
    """Guards k-NN against a bank of more images, or other ones, than the run was trained on."""
    trained_on, other = (
        str(photos(tmp_path / name, "a", "b", seed=len(name))) for name in ("x", "val")
    )
    run = make_config({"data": {"train": trained_on, "val": other, "limit": 6}})
    data = labelled_images(EvaluationDataConfig(), run)
    assert (len(data.train), len(data.test), data.held_out) == (6, 10, False)
    assert len(labelled_images(EvaluationDataConfig(limit=4), run).train) == 4
    # With other training images, the run's validation images are not used.
    assert labelled_images(EvaluationDataConfig(train=other), run).held_out


def test_runs_images_with_a_prefix_are_the_runs_own(tmp_path: Path) -> None:
    """Guards ``labelled:photos`` against being taken for other images than the run's."""
    folder = f"labelled:{photos(tmp_path / 'x', 'a', 'b')}"
    run = make_config({"data": {"train": folder, "limit": 6}})
    data = labelled_images(EvaluationDataConfig(train=folder), run)
    assert len(data.train) == 5  # of the six that the run was trained on, one is held out


def test_labels_are_aligned_by_name(tmp_path: Path) -> None:
    """Guards labels: class "c" is the third of three, not the second of two."""
    train = open_source(str(photos(tmp_path / "train", "a", "b", "c")))
    test = open_source(str(photos(tmp_path / "test", "a", "c")))
    aligned = align_labels(train, test)
    assert aligned.class_names == ("a", "b", "c")
    assert aligned.labels is not None
    assert aligned.labels.tolist() == [0] * 5 + [2] * 5
    assert [aligned.describe(i) for i in range(10)] == [test.describe(i) for i in range(10)]
    with pytest.raises(DataError, match=r"classes that test has not, such as \['b'\]"):
        align_labels(test, train)


def test_objects_are_opened_in_two_parts_with_common_classes(tmp_path: Path) -> None:
    """Guards detection against its own training images, and against a limit that is ignored."""
    root = str(voc(tmp_path / "set"))
    data = annotated_images(EvaluationDataConfig(train=root), None, maps=False)
    assert (len(data.train), len(data.test)) == (2, 1)
    limited = annotated_images(EvaluationDataConfig(train=root, limit=1), None, maps=False)
    assert isinstance(limited.train, ObjectSource)
    assert len(limited.train.scene(0).boxes) == 2
    with pytest.raises(DataError, match="among the training images"):
        annotated_images(EvaluationDataConfig(train=root, val=f"{root}:train"), None, maps=False)
    with pytest.raises(DataError, match="no images with objects"):
        annotated_images(EvaluationDataConfig(), None, maps=False)


def test_objects_of_the_run_are_taken_where_nothing_is_asked_for(tmp_path: Path) -> None:
    """Guards ``massrl evaluate RUN --task detect``."""
    run = make_config({"data": {"train": "shapes(count=20,size=16)", "limit": 5}})
    data = annotated_images(EvaluationDataConfig(), run, maps=True)
    assert len(data.train) == 5


def test_broken_labelled_images_are_left_out_and_counted(tmp_path: Path) -> None:
    """Guards ``--data.on_error skip`` against metrics on fewer images than it says."""
    folder = photos(tmp_path / "set", "a", "b", count=10)
    (folder / "a" / "3.png").write_bytes(b"broken")
    skip = EvaluationDataConfig(train=str(folder), on_error="skip")
    data = open_images("images", skip, None)
    assert (len(data.train), len(data.test), data.left_out) == (15, 4, 1)
    data = open_images("images", EvaluationDataConfig(train=str(folder)), None)
    assert (len(data.train), len(data.test), data.left_out) == (16, 4, 0)


def test_objects_stay_with_their_images_where_a_broken_one_is_left_out(tmp_path: Path) -> None:
    """Guards boxes against those of the image before."""
    root = voc(tmp_path / "set")
    (root / "ImageSets" / "Main" / "train.txt").write_text("i0\ni1\ni3\n")
    (root / "JPEGImages" / "i1.png").write_bytes(b"broken")
    skip = EvaluationDataConfig(train=str(root), on_error="skip")
    data = open_images("objects", skip, None)
    assert (len(data.train), len(data.test), data.left_out) == (2, 1, 1)
    assert isinstance(data.train, ObjectSource)
    assert data.train.scene(1).image.max() == 150  # of i3


def test_class_maps_are_opened_where_they_are_needed(tmp_path: Path) -> None:
    """Guards segmentation against a set that has boxes only."""
    skip = EvaluationDataConfig(train="shapes(count=20,size=16)", on_error="skip")
    data = open_images("maps", skip, None)
    assert data.left_out == 0
    assert isinstance(data.train, ObjectSource)
    assert data.train.label_map(0).shape == (16, 16)
    with pytest.raises(DataError):
        open_images("maps", EvaluationDataConfig(train=str(voc(tmp_path / "set"))), None)


def test_set_in_the_layout_of_voc_is_opened_in_its_published_parts(tmp_path: Path) -> None:
    """Guards transfer to VOC: several classes per image, and the test list rather than val."""
    root = voc(tmp_path / "cells")
    data = transfer_images(str(root), EvaluationDataConfig(val="nowhere"), name="cells")
    assert (len(data.train), len(data.test), data.name) == (2, 1, "cells")
    assert data.train.labels is None
    limited = transfer_images(str(root), EvaluationDataConfig(limit=1), name="cells")
    assert len(limited.train) == 1
    assert "[1 of 2]" in limited.train.name


def test_set_with_one_class_per_image_is_opened_as_labelled_images(tmp_path: Path) -> None:
    """Guards transfer to a folder: a fifth is held out, broken images are counted."""
    folder = photos(tmp_path / "set", "a", "b", count=10)
    (folder / "a" / "3.png").write_bytes(b"broken")
    data = transfer_images(str(folder), EvaluationDataConfig(on_error="skip"), name="set")
    assert data.held_out
    assert (len(data.train) + len(data.test), data.left_out) == (19, 1)


def test_sets_of_one_name_are_told_apart_by_their_paths() -> None:
    """Guards the first of two folders of one name against being lost without a word."""
    assert short_names(["labelled:x/set", "food101", "mine:trainval"]) == {
        "set": "labelled:x/set",
        "food101": "food101",
        "mine": "mine:trainval",
    }
    assert list(short_names(["x/set", "y/set", "z"])) == ["x/set", "y/set", "z"]


def test_error_of_a_broken_image_says_how_to_go_on_without_it() -> None:
    """Guards the first error of a user with a broken file."""
    hint = r"a.png: empty \(--data.on_error skip"
    with pytest.raises(ImageError, match=hint) as caught, with_skip_hint():
        raise ImageError("a.png", "empty")
    assert caught.value.name == "a.png"


def test_labels_of_held_out_images_are_balanced(tmp_path: Path) -> None:
    """Guards an accuracy on one class alone."""
    folder = str(photos(tmp_path / "photos", "a", "b", count=10))
    data = labelled_images(EvaluationDataConfig(train=folder), None)
    assert data.test.labels is not None
    assert np.bincount(data.test.labels).tolist() == [2, 2]


@pytest.mark.parametrize("held_out", [False, True])
def test_copies_of_training_images_are_said_in_every_evaluation(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, held_out: bool
) -> None:
    """Guards figures that are too good: copies in other folders, and in a fifth that is held out."""
    train = photos(tmp_path / "x", "a", "b", count=10)
    if held_out:
        for number in range(10):
            shutil.copy(train / "a" / f"{number}.png", train / "a" / f"copy {number}.png")
    else:
        shutil.copytree(train, tmp_path / "y")
    config = EvaluationDataConfig(train=str(train), val=None if held_out else str(tmp_path / "y"))
    opened = open_images("images", config, None)
    assert "have the same content as training images" in caplog.text
    names = {Path(opened.test.describe(index)).name for index in range(len(opened.test))}
    assert any(name.startswith("copy") for name in names) == held_out


def test_no_part_is_drawn_of_a_set_where_others_are_given(tmp_path: Path) -> None:
    """Guards an evaluation on a fifth of the test images, and training on four fifths of the others."""
    train, val = (str(voc(tmp_path / name)) for name in ("x", "y"))
    for folder in (train, val):
        shutil.rmtree(Path(folder) / "ImageSets")

    def sizes(**data: str) -> tuple[int, int]:
        opened = annotated_images(EvaluationDataConfig(**data), None, maps=False)
        return len(opened.train), len(opened.test)

    assert sizes(train=train, val=val) == (5, 5)
    assert sizes(train=train) == sizes(train=train, val=train) == (4, 1)
