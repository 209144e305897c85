"""What views need of a set of images, and that every source of data has it."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from massrl.data.source import Source
from massrl.data.sources.shapes import ShapesSource
from massrl.views.drawing.sheet_rows import sheet_rows
from massrl.views.image_source import ImageSource
from massrl.views.view_maker import ViewMaker


@pytest.mark.parametrize("method", ["__len__", "read", "describe"])
def test_source_of_data_has_the_methods_that_views_call(method: str) -> None:
    """Guards two definitions of one thing, in rooms that do not import each other."""
    ours, theirs = getattr(ImageSource, method), getattr(Source, method)
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)


def test_source_of_data_gives_the_rows_of_a_sheet() -> None:
    """Guards the use of a real source, whose name and description are shown."""
    source = ShapesSource(3, 24, seed=0, objects=1, split="train")
    rows = sheet_rows(source, ViewMaker("byol", size=8), count=2)
    names = [Path(source.describe(index)).name for index in (0, 1)]
    assert [row.title for row in rows] == names
