"""JPEGs: whatever libjpeg complains about is heard; what holds no picture does not count."""

from __future__ import annotations

import io
import re
import struct

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from massrl.errors import ImageError
from massrl.images import decode as module
from massrl.images.decode import decode
from massrl.images.jpeg import clean_jpeg, count_scans, turn


def by_opencv(encoded: bytes) -> np.ndarray:
    """The other reader of the same library; it prints what it complains about."""
    return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)


@pytest.fixture
def large(photo: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 60, (240, 320, 3), dtype=np.uint8)
    return cv2.resize(photo, (320, 240)) // 2 + 40 + noise


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("times", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [(48, 64), (47, 61), (1, 1), (9, 3)])
def test_pixels_are_those_of_opencv(progressive, times, size, photo, encode):
    """Guards the change of readers: runs resume on the same pixels, at every scale and odd side."""
    encoded = encode(photo[: size[0], : size[1]], "JPEG", quality=90, progressive=progressive)
    flags = {1: 0, 2: 16, 4: 32, 8: 64}[times] | cv2.IMREAD_COLOR_RGB
    expected = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    if size != (1, 1):  # a pixel of one pixel has no scale
        assert np.array_equal(decode(encoded, reduction=times), expected)
    assert decode(encoded, reduction=times).shape == expected.shape


@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"restart_marker_blocks": 4}, {"mode": "L"}, {"mode": "CMYK"}],
)
def test_wrong_bits_inside_a_complete_jpeg_are_heard(options, large, encode, capfd):
    """Guards wrong or grey blocks: the end mark is there, OpenCV and Pillow shrug, libjpeg prints.

    OpenCV lets it print, and so tells which files are to be refused. Bits that make another valid JPEG
    cannot be told by any reader.
    """
    options = dict(options)
    picture = Image.fromarray(large).convert(options.pop("mode", "RGB"))
    encoded = encode(picture, "JPEG", quality=90, **options)
    draw, heard = np.random.default_rng(1), 0
    for place in np.linspace(0.3, 0.95, 40):
        broken = bytearray(encoded)
        start = int(len(encoded) * place)
        broken[start : start + 40] = draw.integers(0, 255, 40, dtype=np.uint8).tobytes()
        reference = by_opencv(bytes(broken))
        complaint = capfd.readouterr().err.strip()
        heard += bool(complaint)
        if complaint:
            with pytest.raises(ImageError, match=re.escape(complaint)):
                decode(bytes(broken))
        else:
            assert np.array_equal(decode(bytes(broken)), reference)
        assert capfd.readouterr().err == ""
    assert heard > 20


def test_bytes_that_hold_no_picture_do_not_count(photo, encode, capfd):
    """Guards whole photographs of odd cameras against being called broken.

    Also of the kind: filling bytes between segments, an unknown JFIF version, an unknown colour transform,
    odd parameters of the scan (Samsung's), zeros before the end mark.
    """
    encoded = encode(photo, "JPEG", quality=90)
    expected = by_opencv(encoded)
    table = encoded.index(b"\xff\xdb")
    scan = encoded.index(b"\xff\xda")
    end = len(encoded) - 2
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x07"
    version = encoded.index(b"JFIF\0") + 5
    odd_scan = scan + 2 + struct.unpack(">H", encoded[scan + 2 : scan + 4])[0] - 3
    for changed in (
        encoded[:table] + b"junk" + encoded[table:],
        encoded[:version] + b"\x09" + encoded[version + 1 :],
        encoded[:table] + adobe + encoded[table:],
        encoded[:odd_scan] + b"\1\1\1" + encoded[odd_scan + 3 :],
        encoded[:end] + bytes(9) + encoded[end:],
    ):
        assert np.array_equal(decode(changed), expected)
    assert capfd.readouterr().err == ""
    with pytest.raises(ImageError, match="extraneous bytes"):
        decode(encoded[:end] + b"\x12\x34\x56\x78\x9a\xbc" + encoded[end:])


def test_clean_jpeg_of_no_header_is_none():
    """Guards an endless walk, and an error of another kind, in a file that is all filling."""
    assert clean_jpeg(b"\xff\xd8" + b"\xff" * 50_000) is None
    assert clean_jpeg(b"\xff\xd8") is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turn_agrees_with_pillow(orientation, photo, encode):
    """Guards mirrored and turned photographs."""
    exif = Image.Exif()
    exif[0x112] = orientation
    with Image.open(io.BytesIO(encode(photo, "PNG", exif=exif))) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    assert np.array_equal(turn(photo, orientation), expected)


def with_scans(encoded: bytes, count: int) -> bytes:
    """Repeat the last scan of a progressive JPEG."""
    last = encoded.rindex(b"\xff\xda")
    return encoded[:last] + encoded[last:-2] * count + b"\xff\xd9"


def test_jpeg_of_thousands_of_scans_is_refused_by_what_it_costs(photo, encode, monkeypatch):
    """Guards seconds for kilobytes: each scan goes over every pixel. The limit is pixels times scans."""
    encoded = encode(cv2.resize(photo, (640, 480)), "JPEG", progressive=True)
    assert 4 < count_scans(encoded) < 20
    assert decode(encoded).shape == (480, 640, 3)
    bomb = with_scans(encoded, 7000)
    monkeypatch.setattr(module, "decode_jpeg", lambda *_, **__: pytest.fail("was decoded"))
    with pytest.raises(
        ImageError, match=r"takes too long to decode: 70\d\d scans of 640 x 480 pixels"
    ):
        decode(bomb)
