"""A TIFF reduced to its first page: the same picture, without what readers complain about."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from tests.images.tiffs import tiff

from massrl.images.decode import decode
from massrl.images.tiff_file import minimal_tiff
from massrl.images.tiff_page import read_page


@pytest.mark.parametrize("order", ["<", ">"])
def test_minimal_file_has_the_same_samples(order, photo, capfd):
    """Guards the copy: offsets, byte order, tiles, planes; notes and further pages are left out."""
    deep = photo.astype(np.uint16) * 200
    for options in (
        {"photometric": "rgb", "tile": (16, 32), "compression": "zlib", "predictor": True},
        {"photometric": "rgb", "rowsperstrip": 7, "bigtiff": True},
    ):
        stream = io.BytesIO()
        with tifffile.TiffWriter(
            stream, byteorder=order, bigtiff=options.pop("bigtiff", False)
        ) as writer:
            writer.write(deep, description="x" * 500, **options)
            writer.write(deep[:5], photometric="rgb")
        page = read_page(stream.getvalue())
        minimal = minimal_tiff(stream.getvalue(), page)
        assert read_page(minimal)._replace(formats=(1,)) == page
        assert np.array_equal(tifffile.imread(io.BytesIO(minimal)), deep)
        assert b"xxxx" not in minimal
    assert capfd.readouterr().err == ""


def test_reversed_bits_are_put_right():
    """Guards faxes whose first pixel is the least significant bit."""
    tags = {258: (3, [1]), 277: (3, [1]), 262: (3, [1]), 266: (3, [2])}
    pixels = decode(tiff([b"\x01\x80"], size=(2, 8), tags=tags))
    assert (pixels[..., 0] == [[255] + 7 * [0], 7 * [0] + [255]]).all()


@pytest.mark.parametrize(
    "tag", [(296, 3, [0]), (65000, 7, [1, 2, 3]), (700, 4, [1 << 30]), (282, 3, [0])]
)
def test_odd_tags_print_nothing(tag, capfd):
    """Guards libtiff's lines about tags that no pixel needs."""
    number, kind, values = tag
    encoded = tiff([b"\x63" * 48], size=(4, 4), tags={number: (kind, values)})
    assert (decode(encoded) == 0x63).all()
    assert capfd.readouterr().err == ""
