"""The text files of YOLO's layout: numbers, names, lists, and where they say that images are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from massrl.data.sources.yolo_files import listed_images, read_labels, yolo_set
from massrl.errors import DataError


def labels(folder: Path, text: str) -> Path:
    (folder / "a.txt").write_text(text)
    return folder / "a.txt"


def test_numbers_are_centre_and_size_as_fractions(tmp_path: Path) -> None:
    """Guards boxes that are taken for corners; torchvision converts the same numbers."""
    import torch
    from torchvision.ops import box_convert

    numbers = [[0.5, 0.5, 0.2, 0.4], [0.1, 0.25, 0.2, 0.5], [0.95, 0.9, 0.2, 0.4]]
    text = "".join(f"{index} {' '.join(map(str, row))}\r\n" for index, row in enumerate(numbers))
    objects, left_out = read_labels(labels(tmp_path, text), flag="--x")
    wanted = box_convert(torch.tensor(numbers, dtype=torch.float64), "cxcywh", "xyxy").numpy()
    assert np.allclose([item.box for item in objects], wanted)
    assert [item.class_number for item in objects] == [0, 1, 2]
    assert not left_out


def test_polygons_become_their_boxes(tmp_path: Path) -> None:
    """Guards segmentation labels; pycocotools draws the polygon on 100 × 100 pixels."""
    coco = pytest.importorskip("pycocotools.mask")
    points = [0.1, 0.2, 0.6, 0.3, 0.5, 0.9]
    text = f"3 {' '.join(map(str, points))}"
    (item,), _ = read_labels(labels(tmp_path, text), flag="--x")
    runs = coco.frPyObjects([[100 * point for point in points]], 100, 100)
    x, y, width, height = coco.toBbox(coco.merge(runs))
    assert item.class_number == 3
    assert np.allclose(np.array(item.box) * 100, [x, y, x + width, y + height], atol=1)


def test_keypoints_behind_a_box_are_no_polygon(tmp_path: Path) -> None:
    """Guards labels for poses, of which ``kpt_shape`` in ``data.yaml`` tells; a hand-placed box.

    Keypoints have two numbers each, or three with their visibility, which is 2 where they are seen.
    """
    wanted = (0.4, 0.4, 0.6, 0.6)
    for points in ("0.45 0.45 0.55 0.55", "0.45 0.45 2 0.55 0.55 1"):
        text = f"0 0.5 0.5 0.2 0.2 {points}"
        (item,), _ = read_labels(labels(tmp_path, text), flag="--x", has_keypoints=True)
        assert np.allclose(item.box, wanted)
    for name in ("images", "labels"):
        (tmp_path / "train" / name).mkdir(parents=True)
    (tmp_path / "data.yaml").write_text("train: train/images\nnames: [a]\nkpt_shape: [2, 3]\n")
    found = yolo_set(tmp_path)
    assert found is not None
    assert found.has_keypoints


@pytest.mark.parametrize("text", ["names: [a\n", "- a\n- b\n", "train: images\n", ""])
def test_data_file_that_cannot_be_used_is_refused(text: str, tmp_path: Path) -> None:
    """Guards names of classes that are lost because of a misprint; also a list, no names, an empty file."""
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    (tmp_path / "images" / "0.jpg").write_bytes(b"")
    labels(tmp_path / "labels", "0 0.5 0.5 0.2 0.2")
    assert yolo_set(tmp_path) is not None
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=r"data\.yaml cannot be used; accepted: YAML with names"):
        yolo_set(tmp_path)


def test_lines_that_cannot_be_used_are_counted(tmp_path: Path) -> None:
    """Guards objects that vanish: boxes of no size, outside the image, and lines that stand twice."""
    text = "0 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.1 0.1\n1 0.5 0.5 0 0.1\n1 1.5 0.5 0.2 0.2\n\n"
    objects, left_out = read_labels(labels(tmp_path, text), flag="--x")
    assert len(objects) == 1
    assert dict(left_out) == {
        "that stand twice in a file": 1,
        "without width or height in the image": 2,
    }
    assert read_labels(labels(tmp_path, ""), flag="--x")[0] == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0 0.5 0.5 0.1", "line 1: 4 numbers"),
        ("0 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.1 0.1 0.99", "line 2: 6 numbers"),
        ("cat 0.5 0.5 0.1 0.1", "could not convert"),
        ("-1 0.5 0.5 0.1 0.1", "class -1"),
        ("0.5 0.5 0.5 0.1 0.1", "class 0.5"),
        ("0 320 240 64 48", "320 is no fraction of the image"),
        ("0 nan 0.5 0.1 0.1", "nan is no fraction"),
    ],
)
def test_line_of_another_format_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    """Guards predictions, pixels, names and anything else that is no label of YOLO."""
    with pytest.raises(DataError, match=rf"{reason}.*; accepted: class, centre x.*\(--x\)"):
        read_labels(labels(tmp_path, text), flag="--x")


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "names: [cat, dog]\ntrain: images/train\nval: images/val\n",
        "names: {0: cat, 1: dog}\ntrain: ../set/images/train\nval: ../images/val\n",
        "names: {'1': dog, '0': cat}\npath: ../datasets/set\ntrain: [images/train]\nvalid: ./images/val\n",
        "names:\n- cat\n- dog\ntrain: images\\train\nvalidation: images\\val\ntest:\n",
    ],
)
def test_data_file_names_classes_and_parts(tmp_path: Path, text: str) -> None:
    """Guards the variants of ``data.yaml``: lists, numbers, paths of another place, Windows, a mark."""
    root = tmp_path / "set"
    for part in ("train", "val"):
        write(root / "images" / part / "a.jpg")
    write(root / "data.yaml", "\ufeff" + text)
    for path in (root, root / "data.yaml"):
        found = yolo_set(path)
        assert found is not None
        assert found.class_names() == ("cat", "dog")
        for part in ("train", "val"):
            (folder,) = found.parts[part]
            assert folder.samefile(root / "images" / part)


def test_lists_name_images(tmp_path: Path) -> None:
    """Guards Darknet's ``train.txt``, with the paths of the machine that has written it."""
    for name in ("images/a.jpg", "images/b c.jpg"):
        write(tmp_path / name)
    write(tmp_path / "train.txt", "./images/a.jpg\r\nC:\\old\\images\\b c.JPG\r\n")
    write(tmp_path / "data.yaml", "nc: 2\ntrain: train.txt\n")
    found = yolo_set(tmp_path)
    assert found is not None
    images = listed_images(found, "train", flag="--x")
    assert images == [tmp_path / "images" / "a.jpg", tmp_path / "images" / "b c.jpg"]
    write(tmp_path / "train.txt", "images/gone.jpg")
    with pytest.raises(DataError, match=r"lacks images/gone.jpg and 0 more of .*train.txt \(--x\)"):
        listed_images(found, "train", flag="--x")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ("[a, a]", "names a class twice"),
        ("{0: a, 2: b}", "numbers 0, 2; accepted: from 0"),
        ("[[a], [b]]", "are no texts; accepted: a list of names"),
        ("cat", "are no texts; accepted: a list of names"),
    ],
)
def test_names_that_are_unclear_are_refused(tmp_path: Path, names: str, reason: str) -> None:
    """Guards two classes that become one, and classes that have no name."""
    write(tmp_path / "images" / "train" / "a.jpg")
    write(tmp_path / "data.yaml", f"names: {names}\ntrain: images/train\n")
    found = yolo_set(tmp_path)
    assert found is not None
    with pytest.raises(DataError, match=reason):
        found.class_names()


def test_classes_may_stand_in_a_text_file(tmp_path: Path) -> None:
    """Guards the export of labelling tools, which write ``classes.txt``, on Windows with a mark."""
    write(tmp_path / "images" / "a.jpg")
    write(tmp_path / "labels" / "a.txt")
    found = yolo_set(tmp_path)
    assert found is not None
    assert found.class_names() == ()
    (tmp_path / "classes.txt").write_bytes("big cat \r\n\r\ndog\r\n".encode("utf-8-sig"))
    assert found.class_names() == ("big cat", "dog")


def test_other_files_and_folders_are_not_of_yolo(tmp_path: Path) -> None:
    """Guards any other YAML file, and folders of classes."""
    assert yolo_set(write(tmp_path / "x.yaml", "operations: []")) is None
    assert yolo_set(write(tmp_path / "y.yaml", "names: [")) is None
    assert yolo_set(write(tmp_path / "deep.yaml", "names: " + "[" * 700)) is None
    assert yolo_set(write(tmp_path / "date.yaml", "names: 2001-99-99")) is None
    laughs = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    assert (
        yolo_set(write(tmp_path / "laughs.yaml", f"a0: &a0 x\n{laughs}names: *a29\ntrain: *a29"))
        is None
    )
    assert yolo_set(tmp_path / "none.yaml") is None
    assert yolo_set(tmp_path / "none") is None
    assert yolo_set(write(tmp_path / "cat" / "a.jpg").parent.parent) is None
