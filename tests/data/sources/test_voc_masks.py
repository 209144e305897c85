"""Masks in Pascal VOC's layout: VOC's own numbers, and colours that ``labelmap.txt`` names."""

from __future__ import annotations

import struct
import zlib
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


CELL = "background:0,0,0\ncell:255,255,255\n"
OBJECT = np.zeros((10, 20), np.uint8)
OBJECT[2:7, 3:12] = 1


def grey_mask(mode: str, value: int) -> Image.Image:
    """Return a mask whose object has a grey, of 8 bits, as the mode writes it."""
    grey = Image.fromarray(OBJECT * np.uint8(value))
    if mode in ("1", "RGB", "RGBA", "LA", "P", "L"):
        return grey.convert(mode)
    if mode == "P of two":
        mask = Image.fromarray(OBJECT, mode="P")
        mask.putpalette([0, 0, 0] + 3 * [value])
        return mask
    factor = 257 if mode == "I;16" else 1  # white of 16 bits, or 8 bits in 16
    return Image.fromarray(np.asarray(grey).astype(np.uint16) * np.uint16(factor))


MODES = ("1", "L", "LA", "P", "P of two", "RGB", "RGBA", "I;16", "8 in I;16")


@pytest.mark.parametrize("mode", MODES)
def test_white_object_that_the_label_map_names_is_an_object(tmp_path: Path, mode: str) -> None:
    """Guards masks of 0 and 255: every object pixel was ignored, pixel accuracy 99.97 %, not a word.

    To the kind belong all of Pillow's modes of PNG files, palettes of greys and of two colours, white of 16
    bits, other greys than white, and masks of numbers beside a label map that names white; see below.
    """
    root = masked(tmp_path / "set", grey_mask(mode, 255), names=CELL)
    assert np.array_equal(VocMasks(root, flag="x").read("i1"), OBJECT)


@pytest.mark.parametrize("name", ["Background", "BACKGROUND"])
def test_background_is_no_class_in_any_case(tmp_path: Path, name: str) -> None:
    """Guards label maps written with a capital, whose background was an object in silence."""
    names = CELL.replace("background", name)
    root = masked(tmp_path / "set", grey_mask("L", 255), names=names)
    masks = VocMasks(root, flag="x")
    assert masks.names == ("cell",)
    assert np.array_equal(masks.read("i1"), OBJECT)


@pytest.mark.parametrize("mode", MODES[1:])
def test_grey_object_that_the_label_map_names_is_an_object(tmp_path: Path, mode: str) -> None:
    """Guards spacings such as 0, 128, 255."""
    names = "background:0,0,0\nedge:255,255,255\ncell:128,128,128\n"
    root = masked(tmp_path / "set", grey_mask(mode, 128), names=names)
    assert np.array_equal(VocMasks(root, flag="x").read("i1"), 2 * OBJECT)


@pytest.mark.parametrize("names", [CELL, "background:0,0,0\ncell:128,0,0\n", None])
@pytest.mark.parametrize("mode", ["L", "P", "8 in I;16"])
def test_white_is_ignored_where_masks_hold_numbers(
    tmp_path: Path, mode: str, names: str | None
) -> None:
    """Guards VOC's rule, 255 for ignored, for whole folders: one mask with numbers decides for all."""
    root = masked(tmp_path / "set", grey_mask(mode, 255), names=names)
    grey_mask(mode, 1).save(root / "SegmentationClass" / "i2.png")
    masks = VocMasks(root, flag="x")
    white = masks.read("i1")
    assert set(white[OBJECT > 0].tolist()) == {IGNORED}
    assert not white[OBJECT == 0].any()
    assert np.array_equal(masks.read("i2"), OBJECT)


@pytest.mark.parametrize(("bits", "step"), [(1, 255), (2, 85), (4, 17)])
def test_numbers_of_few_bits_are_those_stored(tmp_path: Path, bits: int, step: int) -> None:
    """Guards masks of 1, 2 and 4 bits, whose numbers Pillow scales to 255."""
    root = masked(tmp_path / "set", grey_mask("L", 0))
    name = root / "SegmentationClass" / "i1.png"
    name.write_bytes(png(OBJECT, bits=bits))
    with Image.open(name) as opened:
        assert np.array_equal(np.array(opened.convert("L")), OBJECT * step)
    assert np.array_equal(VocMasks(root, flag="x").read("i1"), OBJECT)
    (root / "labelmap.txt").write_text(f"background:0,0,0\ncell:{step},{step},{step}\n")
    assert np.array_equal(VocMasks(root, flag="x").read("i1"), OBJECT)


def png(numbers: np.ndarray, *, bits: int) -> bytes:
    """Return a grey PNG file of this depth, written as its specification says."""
    rows = []
    for row in numbers:
        digits = "".join(f"{number:0{bits}b}" for number in row)
        digits = digits.ljust(-(-len(digits) // 8) * 8, "0")
        rows.append(b"\0" + int(digits, 2).to_bytes(len(digits) // 8, "big"))
    height, width = numbers.shape

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "I;16"])
def test_grey_that_nothing_names_is_refused(tmp_path: Path, mode: str) -> None:
    """Guards pixels at the edges of objects, which lossy tools blend: neither object nor background."""
    root = masked(tmp_path / "set", grey_mask(mode, 77), names=CELL)
    with pytest.raises(DataError, match=r"(number|colours).*(77|19789).*45 pixels.*\(x\)"):
        VocMasks(root, flag="x").read("i1")


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_object_is_refused(tmp_path: Path, mode: str) -> None:
    """Guards masks whose transparent pixels have the colour of an object, or are an object."""
    mask = grey_mask(mode, 255)
    mask.putalpha(Image.fromarray(255 * OBJECT))
    root = masked(tmp_path / "set", mask, names=CELL)
    assert np.array_equal(VocMasks(root, flag="x").read("i1"), OBJECT)
    mask.putalpha(Image.fromarray(200 * (1 - OBJECT)))
    mask.save(root / "SegmentationClass" / "i1.png")
    with pytest.raises(DataError, match="transparent pixels in the colour of an object"):
        VocMasks(root, flag="x").read("i1")


def test_class_without_pixels_is_accepted(tmp_path: Path) -> None:
    """Guards label maps that name more than the masks of a folder show."""
    names = CELL + "plate:9,9,9\n"
    masks = VocMasks(masked(tmp_path / "set", grey_mask("L", 255), names=names), flag="x")
    assert masks.names == ("cell", "plate")
    assert np.array_equal(masks.read("i1"), OBJECT)


def test_black_mask_in_colours_has_no_numbers(tmp_path: Path) -> None:
    """Guards palettes without a pixel of an object, where background is not the first line."""
    mask = Image.fromarray(0 * OBJECT, mode="P")
    mask.putpalette([0, 0, 0, 200, 10, 10])
    names = "red:200,10,10\nbackground:0,0,0\n"
    assert not VocMasks(masked(tmp_path / "set", mask, names=names), flag="x").read("i1").any()


def test_size_is_that_of_the_file(tmp_path: Path) -> None:
    """Guards the comparison with the image, which must not decode every mask."""
    root = masked(tmp_path / "set", grey_mask("L", 255))
    assert VocMasks(root, flag="x").size("i1") == (10, 20)
    with pytest.raises(DataError, match=r"i0\.png cannot be read"):
        VocMasks(root, flag="x").size("i0")
