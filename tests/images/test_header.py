"""Headers: size, format and kind, from the first bytes alone."""

from __future__ import annotations

import struct
import time

import cv2
import numpy as np
import pytest
from PIL import Image

from massrl.images.decode import decode
from massrl.images.header import image_size, read_header

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")


@pytest.mark.parametrize("form", FORMATS)
def test_image_size_reads_the_header_of_each_format(form, photo, encode):
    """Guards height and width exchanged."""
    assert image_size(encode(photo, form)) == (48, 64)
    assert image_size(b"no image") is None


@pytest.mark.parametrize("options", [{"lossless": True}, {"exif": b"Exif\0\0II*\0"}, {}])
def test_image_size_reads_each_kind_of_webp(options, photo, encode):
    """Guards the three layouts of a WebP header."""
    assert image_size(encode(photo[:, :37], "WEBP", **options)) == (48, 37)


def test_image_size_reads_big_endian_and_compressed_tiff(photo, encode):
    """Guards the byte order of TIFF headers written by cameras and microscopes."""
    big_endian = Image.fromarray(photo[..., 0].astype(">u2") * 257)
    assert image_size(encode(big_endian, "TIFF")) == (48, 64)
    assert image_size(encode(photo, "TIFF", compression="tiff_lzw", big_tiff=True)) == (48, 64)


def test_read_header_names_the_mode(photo, encode):
    """Guards the counts that `massrl data check` prints."""
    modes = {mode: read_header(encode(Image.fromarray(photo).convert(mode))) for mode in "LP"}
    assert [modes["L"].mode, modes["P"].mode] == ["grey", "palette"]
    deep = read_header(encode(photo[..., 0].astype(np.uint16) * 257))
    assert (deep.format, deep.mode) == ("PNG", "grey 16-bit")
    assert read_header(encode(Image.fromarray(photo).convert("CMYK"), "JPEG")).mode == "CMYK"


def test_read_header_takes_microseconds(photo, encode):
    """Guards a header parse that decodes: it runs for every image of every epoch."""
    encoded = encode(cv2.resize(photo, (1600, 1200)), "JPEG")
    best = min(_seconds(encoded) for _ in range(20))
    assert best < 200e-6  # a decode takes some ten milliseconds


def _seconds(encoded: bytes) -> float:
    start = time.perf_counter()
    read_header(encoded)
    return time.perf_counter() - start


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_header_knows_the_upright_size(orientation, photo, encode):
    """Guards plans that are drawn before the image is decoded."""
    exif = Image.Exif()
    exif[0x112] = orientation
    encoded = encode(photo, "JPEG", exif=exif)
    header = read_header(encoded)
    assert header.orientation == orientation
    assert header.upright == decode(encoded).shape[:2]


@pytest.mark.parametrize(
    "exif", [b"", b"II*", b"II*\0\x08\0\0\0\x09\0", b"MM\0*\0\0\0\x08\0\1\1\x12"]
)
def test_header_with_damaged_exif_is_upright(exif, photo, encode):
    """Guards a whole image against a broken note in it."""
    encoded = encode(photo, "JPEG", exif=b"Exif\0\0" + exif)
    assert read_header(encoded).orientation == 1


@pytest.mark.parametrize("form", FORMATS)
def test_header_cut_at_any_byte_is_none_or_right(form, photo, encode):
    """Guards struct errors out of a file of which only the start was copied."""
    encoded = encode(photo, form)
    for length in range(0, min(len(encoded), 700), 3):
        assert image_size(encoded[:length]) in (None, (48, 64))


def test_bmp_header_of_either_kind_gives_rows_and_columns():
    """Guards OS/2's short header, and pictures that are stored top row first."""
    short = b"BM" + bytes(12) + struct.pack("<IHHHH", 12, 5, 7, 1, 24)
    top_first = b"BM" + bytes(12) + struct.pack("<IiiHH", 40, 5, -7, 1, 32)
    assert image_size(short) == image_size(top_first) == (7, 5)
    assert (read_header(short).mode, read_header(top_first).mode) == ("RGB", "RGBA")
