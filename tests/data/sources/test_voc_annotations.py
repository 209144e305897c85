"""Annotations in Pascal VOC's layout: sizes, boxes and marks of an XML file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from massrl.data.frames import Frame
from massrl.data.sources.voc_annotations import VocObject, object_boxes, read_annotation
from massrl.errors import DataError

OBJECT = """<object><name> cell </name>{more}<bndbox><xmin>3</xmin><ymin>1</ymin><xmax>8</xmax>
<ymax>6.5</ymax></bndbox></object>"""


def written(folder: Path, *, size: str = "", more: str = "") -> Path:
    path = folder / "a.xml"
    path.write_text(f"<annotation>{size}{OBJECT.format(more=more)}</annotation>")
    return path


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ("<size><width>20</width><height>10</height><depth>3</depth></size>", (10, 20)),
        ("<size><width>20.0</width><height> 10 </height></size>", (10, 20)),
        ("<size><width>0</width><height>0</height></size>", None),
        ("<size><width></width><height>10</height></size>", None),
        ("<size/>", None),
        ("", None),
    ],
)
def test_size_may_be_unknown(tmp_path: Path, size: str, wanted: tuple[int, int] | None) -> None:
    """Guards annotations of tools that write no size, or zeros."""
    assert read_annotation(written(tmp_path, size=size)) == (
        wanted,
        [VocObject("cell", (2, 0, 8, 6.5), False)],
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("0", False), ("1", True), (" 1 ", True), ("True", True), ("false", False), ("", False)],
)
def test_difficult_is_read_however_it_is_written(tmp_path: Path, text: str, wanted: bool) -> None:
    """Guards difficult objects that count as easy ones since a tool writes words."""
    file = written(tmp_path, more=f"<difficult>{text}</difficult>")
    assert read_annotation(file)[1][0].difficult is wanted


@pytest.mark.parametrize(
    ("size", "more", "message"),
    [
        ("<size><width>a</width><height>1</height></size>", "", "could not convert"),
        ("<size><width>1.5</width><height>1</height></size>", "", "a size of 1.5 × 1.0 pixels"),
        ("", "<difficult>2</difficult>", "difficult '2'; accepted: 0 and 1"),
        ("<object><bndbox/></object>", "", "could not convert"),
    ],
)
def test_value_that_says_nothing_is_refused(
    tmp_path: Path, size: str, more: str, message: str
) -> None:
    """Guards against numbers that are made up."""
    with pytest.raises(DataError, match=f"a.xml is no annotation of Pascal VOC: .*{message}"):
        read_annotation(written(tmp_path, size=size, more=more))


def test_object_without_a_name_is_refused(tmp_path: Path) -> None:
    """Guards a class without a name."""
    file = written(tmp_path)
    file.write_text(file.read_text().replace(" cell ", " "))
    with pytest.raises(DataError, match="an object without a name"):
        read_annotation(file)


def test_boxes_are_scaled_with_their_image() -> None:
    """Guards files that were shrunk after annotation."""
    objects = [VocObject("a", (2, 0, 8, 6), False), VocObject("b", (0, 4, 2, 10), True)]
    boxes = object_boxes(objects, Frame((5, 10), (0.5, 0.25)))
    assert np.array_equal(boxes, [[1, 0, 4, 1.5], [0, 1, 1, 2.5]])
    assert object_boxes([], Frame((5, 10))).shape == (0, 4)
