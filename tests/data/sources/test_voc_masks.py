"""Masks in Pascal VOC's layout: VOC's own numbers, and colours that ``labelmap.txt`` names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.conftest import masked

from massrl.data.annotated import IGNORED, remap_object_classes
from massrl.data.catalogue import open_objects
from massrl.data.sources.voc_masks import VOC_CLASSES, VocMasks
from massrl.errors import DataError

CELLS = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nred:200,10,10::\nwhite:90,90,90::\n"

NUMBERS = np.array([[0, 1, 2], [2, 2, IGNORED]], np.uint8)

COLOURS = np.array([(0, 0, 0), (200, 10, 10), (90, 90, 90)] + 253 * [(224, 224, 192)], np.uint8)


def test_mask_without_label_map_holds_numbers(tmp_path: Path) -> None:
    """Guards a palette that is read as colours, and pixels that are ignored."""
    labels = np.zeros((10, 20), np.uint8)
    labels[2:5, 3:7], labels[0] = 15, IGNORED
    mask = Image.fromarray(labels, mode="P")
    mask.putpalette([(17 * number) % 256 for number in range(768)])
    source = open_objects(str(masked(tmp_path / "set", mask)), maps=True, flag="--data.train")
    assert (len(source), source.has_maps) == (1, True)
    assert np.array_equal(source.label_map(0), labels)


@pytest.mark.parametrize("mode", ["RGB", "P", "L"])
def test_mask_with_label_map_holds_named_colours(tmp_path: Path, mode: str) -> None:
    """Guards other sets' masks, which must not be taken for aeroplanes and bicycles."""
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
def test_mask_of_unknown_classes_is_refused(
    tmp_path: Path, names: str | None, colours: bool, message: str
) -> None:
    """Guards against classes that are made up of whatever a mask holds."""
    numbers = np.array([[0, 77]], np.uint8)
    mask = Image.fromarray(COLOURS[NUMBERS] if colours else numbers)
    root = masked(tmp_path / "set", mask, names=names)
    with pytest.raises(DataError, match=message):
        open_objects(str(root), maps=True, flag="--data.train").label_map(0)


def test_missing_mask_is_refused_with_its_path(tmp_path: Path) -> None:
    """Guards a list that names images without masks."""
    root = masked(tmp_path / "set", Image.fromarray(NUMBERS))
    with pytest.raises(DataError, match=r"i0\.png cannot be read: .*\(--x\)"):
        VocMasks(root, flag="--x").read("i0")


def test_classes_are_numbered_as_another_source_does(tmp_path: Path) -> None:
    """Guards validation masks whose ``labelmap.txt`` has another order."""
    root = masked(tmp_path / "set", Image.fromarray(NUMBERS), names=CELLS)
    masks = VocMasks(root, flag="--x")
    assert masks.names == ("red", "white")
    masks.set_names(("white", "red"))
    assert masks.read("i1").tolist() == [[0, 2, 1], [1, 1, IGNORED]]
    assert (
        VocMasks(masked(tmp_path / "voc", Image.fromarray(NUMBERS)), flag="x").names == VOC_CLASSES
    )
