"""Scatter plots: points in their places, thumbnails embedded once, a script that finds them."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.report.conftest import HOSTILE, Page, rendered

from massrl.errors import DataError
from massrl.report.scatter import Scatter


def scatter(folder: Path, *, grey: int = 0) -> Scatter:
    sheet = folder / f"{grey}.jpg"
    cv2.imwrite(str(sheet), np.full((48, 96, 3), grey, np.uint8))
    return Scatter(
        title="PCA",
        points=[(0.0, 0.0), (1.0, 1.0), (0.5, 0.25)],
        groups=[0, 2, 0],
        names=["cat", "dog", "fish"],
        texts=["a.png", "b.png", "c.png"],
        sheet=sheet,
        thumb=48,
        per_row=25,
    )


def test_points_are_in_their_places_and_named(tmp_path: Path) -> None:
    """Fails when a map is upside down, or a point shows another image."""
    text = rendered(scatter(tmp_path))
    circles = re.findall(r'data-i="(\d)" cx="([\d.]+)" cy="([\d.]+)".*?aria-label="([^"]*)"', text)
    assert circles == [
        ("0", "0", "1000", "cat, a.png"),
        ("1", "1000", "0", "fish, b.png"),
        ("2", "500", "750", "cat, c.png"),
    ]
    assert 'viewBox="-12 -12 1024 1024"' in text
    assert 'aria-label="PCA: 3 images of 2 classes"' in text


def test_legend_has_the_classes_that_occur_in_the_points_colours(tmp_path: Path) -> None:
    """Fails when a class cannot be found by its colour, or one without images is listed."""
    text = rendered(scatter(tmp_path))
    legend = dict(re.findall(r'<i style="background:([^"]+)"></i>(\w+)', text))
    fills = re.findall(r'fill="([^"]+)"', text)
    assert sorted(legend.values()) == ["cat", "fish"]
    assert [legend[fill] for fill in fills] == ["cat", "fish", "cat"]
    assert len({*fills}) == 2


def test_sheet_that_several_maps_show_is_embedded_once(tmp_path: Path) -> None:
    """Fails when a page of three maps is three times as large, or a map shows another's images."""
    first, other = scatter(tmp_path), scatter(tmp_path, grey=200)
    text = rendered(first, replace(first, title="t-SNE"), other)
    sheets = dict(
        re.findall(r"\.(sheet-\w+)\{background-image:url\(data:image/jpeg;base64,([^)]+)\)", text)
    )
    assert len(sheets) == 2
    shown = [base64.b64decode(sheets[name]) for name in re.findall(r'data-sheet="([^"]+)"', text)]
    assert shown == [first.sheet.read_bytes()] * 2 + [other.sheet.read_bytes()]
    assert text.count("<script>") == 1
    assert "map.dataset.sheet" in text


def test_sheet_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Fails when a missing file ends in a traceback."""
    with pytest.raises(DataError, match=r"cannot read .*gone\.jpg"):
        rendered(replace(scatter(tmp_path), sheet=tmp_path / "gone.jpg"))


def test_hostile_words_stay_text(tmp_path: Path) -> None:
    """Fails where a class or a file's name becomes a tag or an attribute."""
    hostile = replace(scatter(tmp_path), title=HOSTILE, names=[HOSTILE] * 3, texts=[HOSTILE] * 3)
    page = Page(rendered(hostile))
    assert page.text.count(HOSTILE) == 3  # title, and the two classes that occur
    assert not any("onload" in attributes for _, attributes in page.tags)
    assert [tag for tag, _ in page.tags].count("script") == 1
