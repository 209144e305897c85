"""The sheet as a page: frames, captions and pixels of what was planned."""

from __future__ import annotations

import base64
import re

import cv2
import numpy as np
import pytest
from tests.views.drawing.test_contact_sheet import make_row

from massrl.errors import ConfigError
from massrl.views.crops import Box
from massrl.views.drawing.contact_sheet_html import sheet_page
from massrl.views.drawing.sheet_rows import SheetRow
from massrl.views.operations.base import Step
from massrl.views.plan import Plan, ViewPlan


def pictures(page: str, tag: str) -> list[np.ndarray]:
    found = re.findall(rf'<{tag} [a-z]+="data:image/png;base64,([^"]+)"', page)
    return [
        cv2.imdecode(np.frombuffer(base64.b64decode(item), np.uint8), cv2.IMREAD_COLOR_RGB)
        for item in found
    ]


def test_page_holds_image_and_views_pixel_by_pixel() -> None:
    """Fails when colours are exchanged, or a view is not that of its caption."""
    row = make_row(Step("invert"), side=24, views=3)
    row.image[..., 0] = 200
    page = sheet_page([row], title="t")
    assert np.array_equal(pictures(page, "image")[0], row.image)
    for shown, view in zip(pictures(page, "img"), row.views, strict=True):
        assert np.array_equal(shown, view)


def test_large_image_is_shown_smaller_in_the_frame_of_its_own_size() -> None:
    """Fails when a page of photographs weighs hundreds of megabytes, or frames move."""
    page = sheet_page([make_row(height=1200, width=900)], title="t")
    assert pictures(page, "image")[0].shape == (480, 360, 3)
    assert 'viewBox="0 0 900 1200"' in page


def test_frames_are_where_the_crops_were_cut_the_largest_undermost() -> None:
    """Fails when a frame hides a smaller one, or axes are exchanged."""
    views = tuple(
        ViewPlan("weak", crop, box, False, ())
        for crop, box in enumerate([Box(1, 2, 10, 20), Box(5, 6, 50, 60)])
    )
    plan = Plan(0, 0, 0, 100, 100, 8, 0, 1, views)
    row = SheetRow("a", np.zeros((100, 100, 3), np.uint8), plan, np.zeros((2, 8, 8, 3), np.uint8))
    page = sheet_page([row], title="t")
    frames = re.findall(r'<rect x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)" fill="none"', page)
    assert frames[::2] == [("6", "5", "60", "50"), ("2", "1", "20", "10")]


def test_captions_have_every_operation_and_amount() -> None:
    """Fails when something that was drawn is not shown."""
    page = sheet_page([make_row(Step("rotate", (12.0,)), Step("equalize"))], title="t")
    assert re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page) == [
        ("flip", ""),
        ("rotate", "+12.0°"),
        ("equalize", ""),
    ]


def test_names_and_titles_are_text_and_no_markup() -> None:
    """Fails when a file's name is taken for HTML."""
    page = sheet_page([make_row(title="<b>&.png")], title="<i>", lead="a < b")
    assert "&lt;b&gt;&amp;.png" in page
    assert "<h1>&lt;i&gt;</h1>" in page
    assert "a &lt; b" in page


def test_page_without_images_is_refused() -> None:
    """Fails when an empty page is written."""
    with pytest.raises(ConfigError, match="at least one image"):
        sheet_page([], title="t")
