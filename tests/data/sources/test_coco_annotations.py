"""Annotation files in COCO's layout: every join by a key, against pycocotools on a clean file."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from massrl.data.sources.coco_annotations import read_annotations
from massrl.errors import DataError

Change = Callable[[dict[str, Any]], object]


def content() -> dict[str, Any]:
    """Three images, two categories, and objects of the first two images."""
    return {
        "images": [
            {"id": number, "file_name": f"{name}.jpg", "width": 100, "height": 60}
            for number, name in ((3, "c"), (12, "a"), (7, "b"))
        ],
        "categories": [{"id": 5, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 12, "category_id": 5, "bbox": [1, 2, 10, 20], "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 2, "bbox": [50, 30, 10, 10], "iscrowd": 1},
            {"id": 3, "image_id": 12, "category_id": 2, "bbox": [5, 5, 5, 5], "iscrowd": 0},
        ],
    }


def written(folder: Path, change: Change = lambda items: None, *, bom: bool = False) -> Path:
    items = content()
    change(items)
    file = folder / "own.json"
    file.write_text(json.dumps(items), encoding="utf-8-sig" if bom else "utf-8")
    return file


def reference(folder: Path) -> dict[str, list[tuple[str, list[float], int]]]:
    """Return category, box and crowd of each file's objects, as pycocotools joins them."""
    coco = pytest.importorskip("pycocotools.coco")
    folder.mkdir()
    with contextlib.redirect_stdout(io.StringIO()):
        file = coco.COCO(str(written(folder)))
    found = {}
    for image in file.loadImgs(file.getImgIds()):
        items = file.loadAnns(file.getAnnIds(imgIds=[image["id"]]))
        found[image["file_name"]] = [
            (file.loadCats([item["category_id"]])[0]["name"], item["bbox"], item["iscrowd"])
            for item in items
        ]
    return found


def joined(file: Path) -> dict[str, list[tuple[str, list[float], int]]]:
    """Return the same as massrl joins it."""
    read = read_annotations(file, flag="--x")
    found = {}
    for name, objects in zip(read.names, read.objects, strict=True):
        found[name] = [
            (
                read.categories[item.category],
                [*item.box[:2], item.box[2] - item.box[0], item.box[3] - item.box[1]],
                int(item.crowd),
            )
            for item in objects
        ]
    return found


def every(items: list[dict[str, Any]], key: str, change: Callable[[Any], Any]) -> None:
    for item in items:
        item[key] = change(item[key])


@pytest.mark.parametrize(
    "change",
    [
        lambda items: None,
        lambda items: every(items["annotations"], "image_id", str),
        lambda items: every(items["annotations"], "image_id", float),
        lambda items: every(items["annotations"], "category_id", str),
        lambda items: every(items["images"], "id", str),
        lambda items: every(items["images"], "id", lambda number: f"{number:06}"),
        lambda items: every(items["categories"], "id", float),
        lambda items: every(items["annotations"], "iscrowd", str),
        lambda items: every(items["annotations"], "iscrowd", bool),
        lambda items: every(items["annotations"], "bbox", lambda box: [str(side) for side in box]),
        lambda items: every(items["annotations"], "id", lambda number: None),
        lambda items: every(items["annotations"], "id", lambda number: 0),
        lambda items: [
            every(items["images"], "id", lambda number: f"uuid-{number}"),
            every(items["annotations"], "image_id", lambda number: f"uuid-{number}"),
        ],
        lambda items: items["categories"].append({"id": 9, "name": "cat"}),
    ],
)
def test_objects_are_joined_as_pycocotools_does(tmp_path: Path, change: Change) -> None:
    """Guards objects that were lost since an id is written in another way.

    To the kind belong ids as texts, with leading zeros, as floats, and texts that are no numbers; flags and
    numbers of boxes as texts; ids of annotations, by which nothing is joined; and a category that has the
    name of another one and no objects, as some tools write it.
    """
    assert joined(written(tmp_path, change)) == reference(tmp_path / "clean")


def test_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    """Guards files that were saved by an editor of Windows."""
    assert len(read_annotations(written(tmp_path, bom=True), flag="--x").names) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda items: items["images"][0].update(id=12), "several images of the id 12"),
        (lambda items: items["images"][0].update(id="12"), "several images of the id 12"),
        (lambda items: every(items["images"], "id", lambda _: 1), "several images of the id 1"),
        (
            lambda items: items["images"][0].update(file_name="./a.jpg"),
            "several images of the file name 'a.jpg'",
        ),
        (lambda items: items["categories"][0].update(id=2.0), "several categories of the id 2"),
        (
            lambda items: items["categories"][0].update(name="dog"),
            "several categories of the name 'dog'",
        ),
        (
            lambda items: every(items["annotations"], "image_id", lambda _: "x"),
            "none of its 3 annotations belongs to an image: image_id is such as 'x', the images' ids "
            "are such as 3",
        ),
        (lambda items: items["images"][0].update(id=1.5), "id is 1.5"),
        (lambda items: items["images"][0].update(id=float("nan")), "id is nan"),
        (lambda items: items["images"][0].update(id=float("inf")), "id is inf"),
        (lambda items: items["images"][0].update(id=True), "id is True"),
        (lambda items: items["images"][0].update(id=None), "id is None"),
        (lambda items: items["images"][0].update(id=" "), "id is ' '"),
        (lambda items: items["annotations"][0].update(image_id=[12]), r"image_id is \[12\]"),
        (lambda items: items["annotations"][0].update(category_id=6), "has the category 6"),
        (lambda items: items["annotations"][0].pop("bbox"), "annotation 1 has no valid box: None"),
        (lambda items: items["images"][0].pop("file_name"), "lacks 'file_name'"),
        (lambda items: items["images"][0].update(file_name=3), "file_name is 3"),
        (lambda items: items["images"][0].update(width="a"), "could not convert"),
        (lambda items: items["images"][0].update(width=99.5), "width and height are 99.5 and 60"),
        (lambda items: items.update(images=3), "int"),
        (lambda items: items.update(images=[3]), "int"),
        (lambda items: items["images"][0].update(width=1e999), "width and height are inf"),
        (
            lambda items: items["annotations"][0].update(
                segmentation={"size": [float("inf"), 1], "counts": []}
            ),
            "width and height are 1 and inf",
        ),
    ],
)
def test_key_that_cannot_be_joined_by_is_refused(
    tmp_path: Path, change: Change, message: str
) -> None:
    """Guards images that got the objects of others, and references to nothing that were dropped."""
    with pytest.raises(
        DataError, match=rf"own\.json is no annotation file of COCO: .*{message}"
    ) as caught:
        read_annotations(written(tmp_path, change), flag="--x")
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("(--x)")


def test_annotations_that_belong_nowhere_are_counted(tmp_path: Path) -> None:
    """Guards subsets of a file's images, and files that were put together twice."""

    def change(items: dict[str, Any]) -> None:
        items["annotations"].append({**items["annotations"][0], "image_id": 99, "category_id": 99})
        items["annotations"].append(dict(items["annotations"][0]))

    read = read_annotations(written(tmp_path, change), flag="--x")
    assert read.left_out == {"of no image in the file": 1, "that stand twice in the file": 1}
    assert [len(objects) for objects in read.objects] == [0, 1, 2]


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ({}, (60, 100)),
        ({"width": "100", "height": 60.0}, (60, 100)),
        ({"width": 0, "height": 0}, None),
        ({"width": None}, None),
        ({"height": ""}, None),
        ({"width": -1}, None),
    ],
)
def test_size_may_be_unknown(
    tmp_path: Path, size: dict[str, Any], wanted: tuple[int, int] | None
) -> None:
    """Guards files of tools that write no size, or zeros."""
    file = written(tmp_path, lambda items: items["images"][0].update(size))
    assert read_annotations(file, flag="--x").sizes == [wanted, (60, 100), (60, 100)]


def test_box_and_size_come_from_the_mask_where_they_are_missing(tmp_path: Path) -> None:
    """Guards polygons and run lengths without ``bbox``, and masks of another size than their image."""
    pytest.importorskip("pycocotools")
    runs = {"size": [60, 100], "counts": [60 * 3 + 5, 10, 60 * 100 - 60 * 3 - 15]}  # a column

    def change(items: dict[str, Any]) -> None:
        for item, mask in zip(
            items["annotations"], ([[1, 2, 9, 2, 9, 8], [0, 4, 3, 4, 3, 9]], runs), strict=False
        ):
            item.pop("bbox")
            item["segmentation"] = mask
        items["images"][2].update(width=None, height=None)  # number 7

    read = read_annotations(written(tmp_path, change), flag="--x")
    assert read.sizes[1] == (60, 100)
    assert read.objects[2][0].box == (0, 2, 9, 9)
    assert read.objects[1][0].box == (3, 5, 4, 15)
    runs["size"] = [100, 60]
    file = written(tmp_path, lambda items: items["annotations"][0].update(segmentation=runs))
    message = "the mask of annotation 1 is of 60 × 100 pixels, its image 100 × 60"
    with pytest.raises(DataError, match=message):
        read_annotations(file, flag="--x")
