"""The tags of a TIFF: what it is, in words, and nothing raised but struct's errors."""

from __future__ import annotations

import pytest
from tests.images.tiffs import tiff

from massrl.images.header import read_header
from massrl.images.tiff_page import read_page, read_segments


@pytest.mark.parametrize(
    ("tags", "mode"),
    [
        ({}, "RGB"),
        ({277: (3, [4]), 258: (3, [16] * 4)}, "RGB with alpha 16-bit"),
        ({277: (3, [13]), 258: (3, [16] * 13), 262: (3, [1])}, "13 bands 16-bit"),
        ({277: (3, [1]), 258: (3, [16]), 262: (3, [1]), 339: (3, [2])}, "grey 16-bit signed"),
        (
            {277: (3, [1]), 258: (3, [32]), 262: (3, [0]), 339: (3, [3])},
            "grey 32-bit floating-point",
        ),
        ({277: (3, [2]), 258: (3, [8, 8]), 262: (3, [1]), 338: (3, [2])}, "grey with alpha"),
        ({259: (3, [34712])}, "RGB, JPEG 2000"),
        ({259: (3, [999])}, "RGB, unknown compression 999"),
        ({262: (3, [32803])}, "photometric 32803"),
    ],
)
def test_mode_says_what_a_pixel_is(tags, mode):
    """Guards the counts of ``massrl data check``: bands, bits, sign and compression."""
    assert read_header(tiff([bytes(99)], size=(3, 3), tags=tags)).mode == mode


def test_segments_are_counted_for_every_layout():
    """Guards strips and tiles at the edges, and lists that are shorter than they must be."""
    strips = tiff([b"a", b"b", b"c"], size=(8, 5), tags={278: (4, [3])})
    assert [item.rows for item in read_segments(strips, read_page(strips))] == [3, 3, 2]
    tiles = tiff([b"a"] * 6, size=(20, 40), tags={322: (4, [16]), 323: (4, [16])})
    assert [item.rows for item in read_segments(tiles, read_page(tiles))] == [16] * 6
    short = tiff([b"a"], size=(8, 5), tags={278: (4, [3])})
    assert [item.length for item in read_segments(short, read_page(short))] == [1, 0]
