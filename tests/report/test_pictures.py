"""Pictures and galleries: the pixels that were given, and words for those who cannot see them."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.report.conftest import (
    HOSTILE,
    Page,
    assert_hostile_words_are_text,
    picture,
    rendered,
)

from massrl.errors import DataError
from massrl.report.pictures import Gallery, Picture


def test_pictures_come_back_as_they_went_in(tmp_path: Path) -> None:
    """Fails when colours are exchanged, a file is recoded, or a thumbnail is too large."""
    pixels = np.random.default_rng(0).integers(0, 255, (300, 400, 3)).astype(np.uint8)
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), pixels)
    gallery = Gallery(title="g", rows=[(Picture(image=path), [(Picture(image=pixels), None)])])
    text = rendered(Picture(image=pixels, caption="array"), Picture(image=path), gallery)
    sources = [str(attributes["src"]) for tag, attributes in Page(text).tags if tag == "img"]
    contents = [base64.b64decode(source.partition(",")[2]) for source in sources]
    decoded = [cv2.imdecode(np.frombuffer(c, np.uint8), cv2.IMREAD_COLOR_RGB) for c in contents]
    np.testing.assert_array_equal(decoded[0], pixels)
    assert contents[1] == path.read_bytes()
    assert sources[1].startswith("data:image/jpeg;")
    thumbnails = [image.shape for image in decoded[2:] if image is not None]
    assert thumbnails == [(120, 160, 3), (120, 160, 3)]


def test_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Fails when a missing or broken picture ends in an error that does not name it."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG and no more")
    for path, reason in ((tmp_path / "gone.png", "cannot read"), (broken, "cannot be shown")):
        with pytest.raises(DataError, match=f"{path.name}|{reason}") as caught:
            rendered(Picture(image=path))
        assert reason in str(caught.value)
        assert path.name in str(caught.value)


def test_every_picture_has_an_alternative_text() -> None:
    """Fails when a picture says nothing to those who cannot see it."""
    gallery = Gallery(
        title="near",
        rows=[(picture(1, alt="cat"), [(picture(2, alt="dog"), False), (picture(3), True)])],
    )
    page = Page(rendered(picture(caption="a sheet"), picture(alt="b"), picture(), gallery))
    texts = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert texts == ["a sheet", "b", "picture", "query: cat", "wrong: dog", "right: image"]


def test_neighbours_are_marked_right_wrong_or_not_at_all() -> None:
    """Fails when right and wrong neighbours are told apart by colour alone, or not at all."""
    near = [(picture(1), True), (picture(2), False), (picture(3), None)]
    text = rendered(Gallery(title="g", rows=[(picture(0), near)], note="a note"))
    classes = [
        attributes["class"]
        for tag, attributes in Page(text).tags
        if tag == "li" and "thumb" in str(attributes.get("class"))
    ]
    assert classes == ["thumb query tiny", "thumb right tiny", "thumb wrong tiny", "thumb  tiny"]
    shown = Page(text).text
    assert (shown.count("✓"), shown.count("✗"), shown.count("a note")) == (1, 1, 1)


def test_hostile_words_stay_text() -> None:
    """Fails where a file's name becomes a tag or an attribute."""
    assert_hostile_words_are_text(picture(caption=HOSTILE), times=1)
    assert_hostile_words_are_text(picture(caption=HOSTILE, alt=HOSTILE), times=1)
    row = (picture(caption=HOSTILE, alt=HOSTILE), [(picture(caption=HOSTILE), True)])
    assert_hostile_words_are_text(Gallery(title=HOSTILE, rows=[row], note=HOSTILE), times=4)
