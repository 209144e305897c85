"""COCO's layout: one JSON file of images, categories, boxes and masks, against pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.conftest import coco
from torchmetrics.detection import MeanAveragePrecision
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize
from torchvision.tv_tensors import BoundingBoxes, Mask

from massrl.data.annotated import IGNORED, remap_object_classes
from massrl.data.catalogue import open_objects
from massrl.data.sources.base import parse_spec
from massrl.data.sources.coco import CocoKind, CocoSource
from massrl.errors import DataError


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
    with pytest.raises(DataError, match=r"images lacks c\.png and 1 more of own.json \(--x\)"):
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


def annotated(
    folder: Path, *, file_size: tuple[int, int], orientation: int = 1, suffix: str = "jpg"
) -> Path:
    """Write an image that was annotated at 60 × 40, and whose file now has another size; width first."""
    folder.mkdir()
    exif = Image.Exif()
    exif[0x112] = orientation
    pixels = np.zeros((file_size[1], file_size[0], 3), np.uint8)
    Image.fromarray(pixels).save(folder / f"a.{suffix}", exif=exif)
    outline = [10.0, 4.0, 50.0, 4.0, 50.0, 20.0, 30.0, 36.0]
    mask = np.zeros((40, 60), np.uint8, order="F")
    mask[20:30, 2:14] = 1
    runs = pytest.importorskip("pycocotools.mask").encode(mask)
    content = {
        "images": [{"id": 1, "file_name": f"a.{suffix}", "width": 60, "height": 40}],
        "categories": [{"id": 1, "name": "x"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 4, 40, 32], "iscrowd": 0}
            | {"segmentation": [outline], "area": 1},
            {"id": 2, "image_id": 1, "category_id": 1, "bbox": [2, 20, 12, 10], "iscrowd": 0}
            | {"segmentation": {"size": [40, 60], "counts": runs["counts"].decode()}, "area": 1},
        ],
    }
    (folder / "a.json").write_text(json.dumps(content))
    return folder / "a.json"


def reference(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes, x1, y1, x2, y2, and masks as pycocotools reads them at the annotated size."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco_file = pytest.importorskip("pycocotools.coco").COCO(str(file))
    items = coco_file.loadAnns(coco_file.getAnnIds())
    boxes = np.array([item["bbox"] for item in items], float)
    boxes[:, 2:] += boxes[:, :2]
    return boxes, np.stack([coco_file.annToMask(item) for item in items]).astype(bool)


PYCOCOTOOLS = pytest.mark.filterwarnings("ignore:__array__ implementation")


@PYCOCOTOOLS
def test_turned_photograph_is_left_as_stored_where_it_was_annotated_so(tmp_path: Path) -> None:
    """Guards photographs of telephones: AP 83.8 became 0.48 in silence. See ``test_frames`` for the kind."""
    for orientation in (6, 8, 5, 7):
        file = annotated(tmp_path / str(orientation), file_size=(60, 40), orientation=orientation)
        source = CocoSource(file, flag="x")
        boxes, masks = reference(file)
        scene = source.scene(0)
        assert scene.image.shape[:2] == source.image(0).shape[:2] == (40, 60)
        assert np.array_equal(scene.boxes, boxes)
        assert scene.masks is not None
        assert np.array_equal(scene.masks, masks)
        assert source.notes[0].endswith("annotated as stored: 1 image")
    upright = CocoSource(
        annotated(tmp_path / "turned", file_size=(40, 60), orientation=6), flag="x"
    )
    assert upright.scene(0).image.shape[:2] == (40, 60)
    assert upright.notes == ()


@PYCOCOTOOLS
@pytest.mark.parametrize(("size", "orientation"), [((30, 20), 1), ((120, 80), 1), ((15, 10), 8)])
def test_file_of_another_size_has_its_boxes_and_masks_scaled(
    tmp_path: Path, size: tuple[int, int], orientation: int
) -> None:
    """Guards files that were shrunk after annotation, turned ones among them: boxes ten times too far off.

    The reference is annotated pixels, scaled by torchvision's own resizing of boxes and masks.
    """
    file = annotated(tmp_path / "set", file_size=size, orientation=orientation, suffix="png")
    source = CocoSource(file, flag="x")
    boxes, masks = reference(file)
    scene = source.scene(0)
    scaled = resize(
        BoundingBoxes(torch.from_numpy(boxes), format="XYXY", canvas_size=(40, 60)),
        list(size[::-1]),
    )
    assert scene.image.shape[:2] == size[::-1]
    np.testing.assert_allclose(scene.boxes, scaled.numpy(), atol=1e-4)
    assert scene.masks is not None
    nearest = InterpolationMode.NEAREST_EXACT
    wanted = resize(Mask(torch.from_numpy(masks)), list(size[::-1]), interpolation=nearest).numpy()
    assert np.array_equal(scene.masks[1], wanted[1])  # of run lengths
    shared = (scene.masks[0] & wanted[0]).sum() / (scene.masks[0] | wanted[0]).sum()
    assert shared > 0.8  # of a polygon, whose points are scaled
    assert (
        "scaled to the size of the file: 1 image, such as a.png, annotated at 60 × 40"
        in source.notes[-1]
    )
    # Objects found where an independent hand puts them are all right.
    metric = MeanAveragePrecision()
    found = {"boxes": scaled.float(), "labels": torch.tensor([1, 1]), "scores": torch.ones(2)}
    truth = {"boxes": torch.from_numpy(scene.boxes), "labels": torch.from_numpy(scene.labels + 1)}
    metric.update([found], [truth])
    assert float(metric.compute()["map"]) == pytest.approx(1)


def test_image_of_other_proportions_is_refused(tmp_path: Path) -> None:
    """Guards crops, and swapped sizes that no EXIF orientation explains."""
    for name, size in (("crop", (50, 40)), ("swapped", (40, 60))):
        file = annotated(tmp_path / name, file_size=size)
        with pytest.raises(DataError, match=r"a\.jpg has .* is annotated at 60 × 40.*\(--x\)"):
            CocoSource(file, flag="--x")


def test_unusable_boxes_are_counted_by_reason(tmp_path: Path) -> None:
    """Guards objects that vanish: boxes of nothing, of no numbers, outside, of no image, and doubles.

    What is partly outside is clipped, as torchvision does, and counts.
    """

    def change(content: dict[str, Any]) -> None:
        plain = {"image_id": 7, "category_id": 2}
        boxes = [
            [0, 0, -3, 4],
            [float("nan"), 0, 3, 4],
            [0, 0, float("inf"), 4],
            [13, 0, 3, 4],
            [-9, 0, 3, 4],
            [10, 8, 30, 40],
        ]
        content["annotations"] = [
            *content["annotations"],
            *({**plain, "id": number, "bbox": box} for number, box in enumerate(boxes)),
            {**plain, "id": 90, "bbox": [1, 1, 2, 2], "image_id": 99},
            {**plain, "id": 91, "bbox": [1, 1, 2, 2]},
            {**plain, "id": 91, "bbox": [1, 1, 2, 2]},
            {**plain, "id": 91, "bbox": [1, 1, 3, 3]},
        ]

    source = CocoSource(changed(coco(tmp_path / "set"), change), flag="x")
    assert source.object_counts().tolist() == [4, 0]
    assert source.scene(0).boxes.tolist() == [
        [2, 3, 6, 8],
        [0, 0, 1, 10],
        [10, 8, 12, 10],
        [1, 1, 3, 3],
        [1, 1, 4, 4],
    ]
    assert source.notes == (
        "8 of 13 objects are left out: 1 of no image in the file, 1 that stand twice in the file, "
        "2 with a box of no width or height, 2 with a box whose numbers are not finite, "
        "2 with a box outside the image",
        "3 of 5 objects have no mask, so that no mask is used",
    )
