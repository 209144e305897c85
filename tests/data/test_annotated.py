"""Objects in images: Pascal VOC's layout, COCO's, and the embedded scenes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from massrl.data.annotated import IGNORED, ObjectSubset, remap_object_classes
from massrl.data.catalogue import open_objects
from massrl.data.sources.voc_masks import VOC_CLASSES
from massrl.errors import DataError

XML = """<annotation><size><width>20</width><height>10</height></size>{objects}</annotation>"""
OBJECT = """<object><name>{name}</name><difficult>{hard}</difficult>
<bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"""


def voc(root: Path, names: tuple[str, str] = ("cell", "plate")) -> Path:
    """Five images of 20 × 10: two to learn from, one to be judged by, two in no list."""
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / part).mkdir(parents=True)
    for number in range(5):
        cv2.imwrite(
            str(root / "JPEGImages" / f"i{number}.png"), np.full((10, 20, 3), 50 * number, np.uint8)
        )
        objects = OBJECT.format(name=names[0], hard=0, box=(1, 2, 10, 10))
        objects += OBJECT.format(name=names[1], hard=1, box=(11, 1, 30, 4))  # beyond the edge
        objects += OBJECT.format(name=names[1], hard=0, box=(5, 6, 4, 6))  # nothing
        (root / "Annotations" / f"i{number}.xml").write_text(XML.format(objects=objects))
    (root / "ImageSets" / "Main" / "train.txt").write_text("i0\ni1 \n")
    (root / "ImageSets" / "Main" / "test.txt").write_text("i2\n")
    return root


def test_boxes_of_voc_count_from_one_and_include_both_ends(tmp_path: Path) -> None:
    """Guards boxes that are a pixel off, which costs AP at strict thresholds."""
    source = open_objects(str(voc(tmp_path / "set")), flag="--data.train")
    assert (len(source), source.object_names, source.has_masks) == (2, ("cell", "plate"), False)
    scene = source.scene(1)
    assert scene.image.shape == (10, 20, 3)
    assert scene.boxes.tolist() == [[0, 1, 10, 10], [10, 0, 20, 4]]
    assert scene.labels.tolist() == [0, 1]
    assert scene.crowd.tolist() == [False, False]
    assert scene.difficult is not None
    assert scene.difficult.tolist() == [False, True]
    assert scene.masks is None
    part = open_objects(str(tmp_path / "set"), split="val", flag="--data.val")
    assert [part.describe(index).rpartition("/")[2] for index in range(len(part))] == ["i2.png"]
    own = open_objects(f"{tmp_path / 'set'}:test", flag="--data.val")
    assert own.fingerprint() == part.fingerprint()


def test_voc_by_name_takes_its_published_parts(tmp_path: Path) -> None:
    """Guards ``voc2007``: its figures are those of trainval against test, wherever it lies."""
    root = voc(tmp_path / "VOCdevkit" / "VOC2007", ("dog", "boat"))
    lists = root / "ImageSets" / "Main"
    (lists / "train.txt").rename(lists / "trainval.txt")
    (lists / "train.txt").write_text("i0\n")
    (lists / "val.txt").write_text("i1\n")

    def names(spec: str, split: str) -> list[str]:
        source = open_objects(
            spec, split=split, root=str(tmp_path), download=False, flag="--data.train"
        )
        return [Path(source.describe(index)).stem for index in range(len(source))]

    assert names("voc2007", "train") == ["i0", "i1"]
    assert names("voc2007", "val") == ["i2"]
    assert names("voc2007:val", "train") == ["i1"]
    with pytest.raises(
        DataError, match=r"voc2012 is not there and downloading is off; put.*VOCDetection"
    ):
        names("voc2012", "train")


def test_classes_of_voc_itself_keep_their_published_order(tmp_path: Path) -> None:
    """Guards class numbers against depending on which classes a part happens to hold."""
    source = open_objects(str(voc(tmp_path / "set", ("dog", "boat"))), flag="--data.train")
    assert source.object_names == VOC_CLASSES
    assert source.scene(0).labels.tolist() == [VOC_CLASSES.index("dog"), VOC_CLASSES.index("boat")]


def test_masks_of_voc_are_numbers_of_colours(tmp_path: Path) -> None:
    """Guards a palette that is read as colours, and pixels that nobody is asked for."""
    labels = np.zeros((10, 20), np.uint8)
    labels[2:5, 3:7], labels[0] = 15, IGNORED
    mask = Image.fromarray(labels, mode="P")
    mask.putpalette([(17 * number) % 256 for number in range(768)])
    source = open_objects(str(masked(tmp_path / "set", mask)), maps=True, flag="--data.train")
    assert (len(source), source.has_maps) == (1, True)
    assert np.array_equal(source.label_map(0), labels)


def masked(root: Path, mask: Image.Image, *, names: str | None = None) -> Path:
    """The layout with a mask for its second image, and a list of the classes' colours."""
    voc(root)
    (root / "ImageSets" / "Segmentation").mkdir()
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("i1\n")
    (root / "SegmentationClass").mkdir()
    mask.save(root / "SegmentationClass" / "i1.png")
    if names is not None:
        (root / "labelmap.txt").write_text(names)
    return root


CELLS = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nred:200,10,10::\nwhite:90,90,90::\n"
NUMBERS = np.array([[0, 1, 2], [2, 2, IGNORED]], np.uint8)
COLOURS = np.array([(0, 0, 0), (200, 10, 10), (90, 90, 90)] + 253 * [(224, 224, 192)], np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "P", "L"])
def test_masks_of_own_classes_are_named_by_their_colours(tmp_path: Path, mode: str) -> None:
    """Guards masks of a user's own, which must not be taken for aeroplanes and bicycles."""
    mask = Image.fromarray(COLOURS[NUMBERS] if mode == "RGB" else NUMBERS)
    if mode == "P":  # other numbers of the same colours: the colours count
        mask = Image.fromarray(NUMBERS ^ 1, mode="P")
        mask.putpalette(COLOURS[np.arange(256) ^ 1].tobytes())
    source = open_objects(
        str(masked(tmp_path / "set", mask, names=CELLS)), maps=True, flag="--data.train"
    )
    assert source.object_names == ("red", "white")
    assert np.array_equal(source.label_map(0), NUMBERS)
    swapped = remap_object_classes(source, ("white", "blue", "red"))
    assert swapped.label_map(0).tolist() == [[0, 3, 1], [1, 1, IGNORED]]
    with pytest.raises(DataError, match=r"has objects \['red'\] that the training images have not"):
        remap_object_classes(source, ("white", "blue"))


@pytest.mark.parametrize(
    ("names", "colours", "message"),
    [
        (None, True, "is an RGB image: labelmap.txt beside"),
        (None, False, "has the number 77, but there are 21 classes"),
        (
            "red:200,10,10",
            True,
            r"has colours \[\[0, 0, 0\], \[90, 90, 90\]\] that labelmap.txt does not name",
        ),
        ("red:200,10", True, "accepted: name:r,g,b"),
        ("red:0,0,1\nbackground:0,0,0", False, "labelmap.txt must begin with it"),
        ("red:1,2,3\nblue:1,2,3", True, "names 'blue' or its colour twice"),
        ("background:0,0,0", True, "names no class"),
    ],
)
def test_mask_that_cannot_be_told_is_refused(
    tmp_path: Path, names: str | None, colours: bool, message: str
) -> None:
    """Guards against classes that are made up from whatever a mask holds."""
    numbers = np.array([[0, 77]], np.uint8)
    mask = Image.fromarray(COLOURS[NUMBERS] if colours else numbers)
    root = masked(tmp_path / "set", mask, names=names)
    with pytest.raises(DataError, match=message):
        open_objects(str(root), maps=True, flag="--data.train").label_map(0)


def coco(folder: Path) -> Path:
    """Two images of 12 × 10 with a box of polygons, one of run lengths and a crowd."""
    (folder / "images").mkdir(parents=True)
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(folder / "images" / name), np.zeros((10, 12, 3), np.uint8))
    square = [2, 3, 6, 3, 6, 8, 2, 8]
    runs = {"size": [10, 12], "counts": [0, 10, 110]}  # the first column
    objects: list[dict[str, Any]] = [
        {"image_id": 7, "category_id": 30, "bbox": [2, 3, 4, 5], "segmentation": [square]},
        {
            "image_id": 7,
            "category_id": 2,
            "bbox": [0, 0, 1, 10],
            "segmentation": runs,
            "iscrowd": 1,
        },
        {"image_id": 7, "category_id": 2, "bbox": [0, 0, 0, 10], "segmentation": runs},
    ]
    content = {
        "images": [{"id": 9, "file_name": "b.png"}, {"id": 7, "file_name": "a.png"}],
        "categories": [{"id": 30, "name": "tree"}, {"id": 2, "name": "car"}],
        "annotations": objects,
    }
    (folder / "own.json").write_text(json.dumps(content))
    return folder / "own.json"


def test_objects_of_coco_have_boxes_masks_and_crowds(tmp_path: Path) -> None:
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


def test_classes_are_counted_as_those_that_are_learnt(tmp_path: Path) -> None:
    """Guards a part to judge by whose classes stand in another order, or were never learnt."""
    source = open_objects(str(coco(tmp_path / "set")), flag="--data.val")
    remap_object_classes(source, ("tree", "bus", "car"))
    assert source.object_names == ("tree", "bus", "car")
    assert source.scene(0).labels.tolist() == [0, 2]
    with pytest.raises(DataError, match=r"objects \['tree'\] that the training images have not"):
        remap_object_classes(
            open_objects(str(tmp_path / "set" / "own.json"), flag="x"), ("car", "bus")
        )


def test_scenes_have_objects_too_and_a_part_keeps_them(tmp_path: Path) -> None:
    """Guards the embedded data as what detection is tried with."""
    whole = open_objects("shapes(count=12,size=32,objects=3)", flag="--data.train")
    part = ObjectSubset(whole, np.array([5, 2]))
    assert np.array_equal(part.scene(0).image, whole.scene(5).image)
    scene, labels = whole.scene(5), part.label_map(0)
    assert scene.masks is not None
    for mask, label in zip(scene.masks, scene.labels, strict=True):
        assert set(labels[mask].tolist()) == {label + 1}
    assert not labels[~scene.masks.any(axis=0)].any()


def test_what_is_missing_or_broken_is_said_in_one_line(tmp_path: Path) -> None:
    """Guards against a traceback of the XML reader's own."""
    root = voc(tmp_path / "set")
    (root / "Annotations" / "i0.xml").write_text("<annotation><object></annotation>")
    (tmp_path / "wrong.json").write_text('{"images": 3}')
    lacking = json.loads(coco(tmp_path / "coco").read_text())
    lacking["images"].append({"id": 11, "file_name": "c.png"})
    (tmp_path / "coco" / "lacking.json").write_text(json.dumps(lacking))
    for spec, message in (
        (str(root), "i0.xml is no annotation"),
        (f"{root}:trian", "no list 'trian': did you mean 'train'"),
        (str(tmp_path / "wrong.json"), "no annotation file of COCO"),
        (str(tmp_path / "coco" / "lacking.json"), "lacks c.png"),
        (str(tmp_path), "has no objects"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            open_objects(spec, flag="--data.train")
        assert "\n" not in str(caught.value)
