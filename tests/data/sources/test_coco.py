"""COCO's layout: one JSON file of images, categories, boxes and masks."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.conftest import coco

from massrl.data.annotated import IGNORED, remap_object_classes
from massrl.data.catalogue import open_objects
from massrl.data.sources.base import parse_spec
from massrl.data.sources.coco import CocoKind, CocoSource, object_mask
from massrl.errors import ConfigError, DataError


def test_objects_have_boxes_masks_and_crowds(tmp_path: Path) -> None:
    """Guards the user's own JSON file: numbers with gaps, both kinds of masks, empty boxes."""
    pytest.importorskip("pycocotools")
    source = open_objects(str(coco(tmp_path / "set")), flag="--data.train")
    assert (source.object_names, source.has_masks) == (("car", "tree"), True)
    scene = source.scene(0)
    assert scene.boxes.tolist() == [[2, 3, 6, 8], [0, 0, 1, 10]]
    assert scene.labels.tolist() == [1, 0]
    assert scene.crowd.tolist() == [False, True]
    assert scene.masks is not None
    wanted = np.zeros((2, 10, 12), bool)
    wanted[0, 3:8, 2:6], wanted[1, :, 0] = True, True
    assert np.array_equal(scene.masks, wanted)
    labels = source.label_map(0)
    assert (labels[4, 3], labels[0, 0], labels[0, 5]) == (2, IGNORED, 0)
    empty = source.scene(1)
    assert empty.boxes.shape == (0, 4)
    assert empty.masks is not None
    assert empty.masks.shape == (0, 10, 12)


def test_classes_are_numbered_as_those_of_the_training_images(tmp_path: Path) -> None:
    """Guards validation images whose classes have another order, or were never trained on."""
    source = open_objects(str(coco(tmp_path / "set")), flag="--data.val")
    remap_object_classes(source, ("tree", "bus", "car"))
    assert source.object_names == ("tree", "bus", "car")
    assert source.scene(0).labels.tolist() == [0, 2]
    with pytest.raises(DataError, match=r"objects \['tree'\] that the training images have not"):
        remap_object_classes(
            open_objects(str(tmp_path / "set" / "own.json"), flag="x"), ("car", "bus")
        )


def changed(file: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Write the annotation file again with a change."""
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    return file


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(images=3),
        lambda content: content.pop("categories"),
        lambda content: content["annotations"][0].update(bbox=[1, 2, 3]),
        lambda content: content["annotations"][0].update(bbox=["a", 2, 3, 4]),
        lambda content: content["annotations"][0].update(category_id=99),
        lambda content: content["images"][0].pop("file_name"),
    ],
)
def test_file_of_another_layout_is_refused_in_one_line(
    tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    """Guards any JSON file, and annotations with no valid box or category, against a traceback."""
    file = changed(coco(tmp_path / "set"), change)
    with pytest.raises(
        DataError, match=r"own\.json is no annotation file of COCO.*\(--x\)"
    ) as caught:
        CocoSource(file, flag="--x")
    assert "\n" not in str(caught.value)


def test_missing_images_are_counted(tmp_path: Path) -> None:
    """Guards a download that was cut off, found before training and not in its middle."""
    added = [{"id": 11, "file_name": "c.png"}, {"id": 12, "file_name": "d.png"}]
    file = changed(coco(tmp_path / "set"), lambda content: content["images"].extend(added))
    with pytest.raises(DataError, match=r"images lacks c\.png and 1 more \(--x\)"):
        CocoSource(file, flag="--x")
    file = changed(file, lambda content: content.update(images=[], annotations=[]))
    with pytest.raises(DataError, match="names no images"):
        CocoSource(file, flag="--x")


def test_images_are_found_near_the_file_or_in_the_given_folder(tmp_path: Path) -> None:
    """Guards COCO's own layout, ``annotations/`` beside ``train2017/``, and ``--data.root``."""
    file = coco(tmp_path / "set")
    folder = file.parent / "images"
    annotations = tmp_path / "set" / "annotations" / "instances_train2017.json"
    annotations.parent.mkdir()
    file.rename(annotations)
    folder.rename(tmp_path / "set" / "train2017")
    assert CocoSource(annotations, flag="x").root == tmp_path / "set" / "train2017"
    (tmp_path / "set" / "train2017").rename(tmp_path / "elsewhere")
    assert len(CocoSource(annotations, images=tmp_path / "elsewhere", flag="x")) == 2
    with pytest.raises(DataError, match=r"a\.png is in none of .*: --data.root sets the folder"):
        CocoSource(annotations, flag="x")


def test_objects_without_masks_have_boxes_only(tmp_path: Path) -> None:
    """Guards detection on boxes, which needs neither masks nor pycocotools."""

    def drop(content: dict[str, Any]) -> None:
        for item in content["annotations"]:
            item.pop("segmentation")

    source = CocoSource(changed(coco(tmp_path / "set"), drop), flag="x")
    assert not source.has_masks
    assert not source.has_maps
    assert source.scene(0).masks is None
    assert source.scene(0).boxes.shape == (2, 4)


def test_mask_without_pycocotools_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards a bare ``ImportError``."""
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(ConfigError, match=r"pip install 'massrl\[detect\]'"):
        object_mask([[0, 0, 1, 0, 1, 1]], (4, 4))


def test_broken_mask_is_named_with_its_annotation(tmp_path: Path) -> None:
    """Guards against a traceback of pycocotools."""
    pytest.importorskip("pycocotools")
    file = changed(
        coco(tmp_path / "set"),
        lambda content: content["annotations"][0].update(id=5, segmentation=[["a"]]),
    )
    with pytest.raises(DataError, match=r"a\.png: the mask of annotation 5 is broken"):
        CocoSource(file, flag="x").scene(0)


def test_used_names_are_those_of_the_annotations(tmp_path: Path) -> None:
    """Guards remapping: a category without objects must not be refused."""
    file = changed(
        coco(tmp_path / "set"),
        lambda content: content["categories"].append({"id": 90, "name": "unused"}),
    )
    source = CocoSource(file, flag="x")
    assert source.object_names == ("car", "tree", "unused")
    assert source.used_names == ("car", "tree")


def test_kind_takes_json_files_for_tasks_with_objects_only() -> None:
    """Guards a folder of images that is named like a JSON file, and lists of paths."""
    kind = CocoKind()
    assert kind.matches_objects(parse_spec("a/own.json"))
    assert not kind.matches_objects(parse_spec("labelled:own.json"))
    assert not kind.matches_objects(parse_spec("photos"))
    assert not kind.matches(parse_spec("own.json"))
    assert kind.validation_spec(parse_spec("own.json")) is None
