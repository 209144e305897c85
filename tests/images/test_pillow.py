"""Pillow as a reader: silent, and with limits of its own."""

from __future__ import annotations

import logging
import warnings

import pytest

from massrl.errors import ImageError
from massrl.images.header import read_header
from massrl.images.pillow import decode_with_pillow, first_line, quiet


def test_warnings_and_log_lines_stay_inside(capfd):
    """Guards lines of Pillow and tifffile on the terminal, and their loss for everybody else after."""
    with quiet():
        warnings.warn("odd metadata", stacklevel=1)
        for name in ("PIL.TiffImagePlugin", "PIL.ImageFile", "tifffile"):
            logging.getLogger(name).error("odd tag")
    assert capfd.readouterr().err == ""
    seen: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())
    logging.getLogger("tifffile").addHandler(handler)
    try:
        logging.getLogger("tifffile").error("heard again")
    finally:
        logging.getLogger("tifffile").removeHandler(handler)
    assert seen == ["heard again"]


def test_frame_larger_than_its_header_is_refused(photo, encode):
    """Guards a GIF of 10 x 10 whose first frame has gigabytes."""
    encoded = encode(photo, "GIF")
    header = read_header(encoded)
    with pytest.raises(ImageError, match="too large: 64 x 48"):
        decode_with_pillow(encoded, header, name="x", max_pixels=100)


@pytest.mark.parametrize(
    ("error", "line"),
    [(ValueError("one <object at 0x7f>\ntwo"), "one"), (MemoryError(), "MemoryError")],
)
def test_error_becomes_one_line(error, line):
    """Guards addresses and several lines in a message."""
    assert first_line(error) == line
