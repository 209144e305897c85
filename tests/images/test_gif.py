"""GIFs: all pixels of the first frame, or an error."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from massrl.errors import ImageError
from massrl.images.decode import decode
from massrl.images.gif import gif_problem


@pytest.mark.parametrize("colours", [2, 5, 16, 200])
@pytest.mark.parametrize("size", [(1, 1), (40, 53), (120, 90)])
@pytest.mark.parametrize("interlace", [0, 1])
def test_whole_frames_have_no_problem(colours, size, interlace, encode):
    """Guards the walk of the codes: sizes of codes, full tables, clearing, notes before the frame."""
    draw = np.random.default_rng(colours).integers(0, 255, (*size, 3), dtype=np.uint8)
    picture = Image.fromarray(draw).quantize(colours)
    encoded = encode(picture, "GIF", interlace=interlace, comment=b"x" * 300)
    assert gif_problem(encoded) == ""
    assert np.array_equal(decode(encoded), np.asarray(picture.convert("RGB")))


def test_frame_that_ends_early_is_refused():
    """Guards black where data are missing: Pillow is content with an early end mark, or a wrong code.

    Written by hand: 4 x 4 pixels of two bits, codes of three bits: 4 clears, 5 ends, 2 is a pixel.
    """
    header = b"GIF89a\x04\0\x04\0\x81\0\0" + bytes(range(100, 112))
    frame = header + b",\0\0\0\0\x04\0\x04\0\0\x02"
    for data in (
        b"\x14\x0b",
        b"\x2c",
        b"\xfc\xff",
        b"",
    ):  # clear, pixel, end; clear, end; no such code
        block = bytes([len(data)]) * bool(data) + data
        with pytest.raises(ImageError, match=r"damaged GIF file \(\d of 16 pixels\)"):
            decode(frame + block + b"\0;")
    with pytest.raises(ImageError, match="ends before its pixels"):
        decode(frame + b"\x09\x14")
