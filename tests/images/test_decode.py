"""Decoding against Pillow, and the errors of files that cannot be decoded."""

from __future__ import annotations

import io
import pickle
import struct
import zlib
from collections import Counter

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps
from tests.fuzz.images import check_image, mutated_images, seed_images

from massrl.errors import ImageError
from massrl.images import decode as module
from massrl.images.decode import decode
from massrl.images.header import image_size, read_header
from massrl.images.pillow import decode_with_pillow

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")


def _pillow(encoded: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(encoded)) as opened:
        return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))


def _difference(image: np.ndarray, expected: np.ndarray) -> float:
    assert image.shape == expected.shape
    return float(np.abs(image.astype(float) - expected).mean())


def _with_alpha(photo: np.ndarray) -> np.ndarray:
    ramp = np.linspace(0, 255, photo.shape[1]).astype(np.uint8)
    return np.dstack([photo, np.tile(ramp, (len(photo), 1))])


@pytest.mark.parametrize(
    ("form", "mode"),
    [
        (form, mode)
        for form, modes in {
            "JPEG": "RGB L CMYK",
            "PNG": "RGB L P RGBA LA 1",
            "WEBP": "RGB L P RGBA LA 1",
            "TIFF": "RGB L P RGBA LA 1 CMYK",
            "BMP": "RGB L P RGBA 1",
            "GIF": "RGB L P RGBA LA 1",
        }.items()
        for mode in modes.split()
    ],
)
def test_decode_agrees_with_pillow_for_each_format_and_mode(form, mode, photo, encode):
    """Guards swapped channels, composited alpha, raw palette indices and inverted CMYK."""
    source = Image.fromarray(_with_alpha(photo)) if "A" in mode else Image.fromarray(photo)
    encoded = encode(source.convert(mode), form)
    image = decode(encoded)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    # libjpeg and Pillow round CMYK differently by one level.
    assert _difference(image, _pillow(encoded)) <= (1.0 if mode == "CMYK" else 0.05)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [2, 3, 5, 6, 8])
def test_decode_turns_the_image_when_exif_says_so(form, orientation, photo, encode):
    """Guards photographs that lie on their side."""
    exif = Image.Exif()
    exif[0x112] = orientation
    encoded = encode(photo, form, exif=exif)
    assert not np.array_equal(_pillow(encoded), _pillow(encode(photo, form)))
    assert _difference(decode(encoded), _pillow(encoded)) <= 0.05


@pytest.mark.parametrize("form", [".png", ".tiff"])
@pytest.mark.parametrize("grey", [True, False])
def test_decode_scales_when_samples_have_16_bits(form, grey, photo):
    """Guards clipping, which turns a 16-bit image white."""
    deep = photo.astype(np.uint16) * 257
    expected = photo
    if grey:
        deep = deep[..., 0]
        expected = np.repeat(photo[..., :1], 3, axis=2)
    else:
        deep = deep[..., ::-1]
    encoded = cv2.imencode(form, deep)[1].tobytes()
    assert np.array_equal(decode(encoded), expected)


def test_decode_scales_16_bits_when_pillow_decodes(photo, encode):
    """Guards the second decoder, where Pillow's own conversion clips."""
    deep = photo[..., 0].astype(np.uint16) * 257
    encoded = encode(deep)
    header = read_header(encoded)
    image = decode_with_pillow(encoded, header, name="x", max_pixels=10**6)
    assert np.array_equal(image, np.repeat(photo[..., :1], 3, axis=2))


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_decode_takes_the_first_frame_when_there_are_several(form, photo, encode):
    """Guards animations decoded to their last frame, or refused."""
    first, second = Image.fromarray(photo), Image.fromarray(255 - photo)
    options = {"lossless": True} if form == "WEBP" else {}
    encoded = encode(first, form, save_all=True, append_images=[second], **options)
    assert _difference(decode(encoded), photo) < 12  # GIF has 256 colours
    assert _difference(decode(encoded), 255 - photo) > 30


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_decode_raises_when_the_file_is_truncated(form, share, photo, encode, capfd):
    """Guards OpenCV's half-grey pictures, and messages on stderr that name no file."""
    encoded = encode(photo, form)
    with pytest.raises(ImageError, match=r"^a/b\.jpg: .+") as caught:
        decode(encoded[: int(len(encoded) * share)], name="a/b.jpg")
    assert "\n" not in str(caught.value)
    assert "0x" not in str(caught.value).replace("\\x", "")
    assert capfd.readouterr().err == ""


def test_decode_raises_when_a_truncated_jpeg_is_progressive_or_has_a_thumbnail(photo, encode):
    """Guards the end mark of an embedded thumbnail being taken for the picture's own."""
    thumbnail = encode(photo[::4, ::4], "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    for progressive in (False, True):
        plain = encode(photo, "JPEG", progressive=progressive)
        encoded = plain[:2] + segment + plain[2:]
        assert _difference(decode(encoded), _pillow(plain)) <= 0.05
        assert image_size(encoded) == (48, 64)
        with pytest.raises(ImageError, match="truncated"):
            decode(encoded[:-40])


def test_decode_raises_when_png_data_are_damaged(photo, encode, capfd):
    """Guards libpng's own printing: damaged data must not reach it."""
    encoded = bytearray(encode(photo))
    encoded[len(encoded) // 2] ^= 0x5A
    with pytest.raises(ImageError, match="damaged PNG"):
        decode(bytes(encoded))
    assert capfd.readouterr().err == ""


def test_decode_is_silent_when_a_png_holds_a_bad_colour_profile(photo, encode, capfd):
    """Guards "libpng warning: iCCP", printed once for every such image of an epoch."""
    image = decode(encode(photo, icc_profile=b"garbage" * 30))
    assert np.array_equal(image, photo)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"", "empty file"),
        (b"I am no picture", "not an image.*I am no pic.*JPEG"),
        (b"\xff\xd8\xff", "not an image, or only the start"),
        (b"\x89PNG\r\n\x1a\n", "not an image, or only the start"),
        (b"II*\0" + b"\xff" * 8, "not an image, or only the start"),
        (b"%PDF-1.7 ...", "not an image"),
    ],
)
def test_decode_raises_with_the_reason_when_there_is_no_image(encoded, reason):
    """Guards a black image, or OpenCV's assertion text, in place of a reason."""
    with pytest.raises(ImageError, match=reason):
        decode(encoded)


def _bomb(form: str, side: int) -> bytes:
    if form == "PNG":
        body = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        chunk = b"IHDR" + body
        return (
            b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
            + struct.pack(">I", zlib.crc32(chunk))
        )  # fmt: skip
    if form == "JPEG":
        return b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 17, 8, side, side, 3) + bytes(20)
    if form == "GIF":
        return b"GIF89a" + struct.pack("<HH", side, side) + bytes(20)
    return b"BM" + bytes(12) + struct.pack("<IiiHH", 40, side, -side, 1, 24) + bytes(20)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP"])
def test_decode_refuses_from_the_header_when_there_are_too_many_pixels(form, monkeypatch):
    """Guards decompression bombs: no decoder may be called at all."""
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("was decoded"))
    monkeypatch.setattr(module, "decode_with_pillow", lambda *_, **__: pytest.fail("was decoded"))
    with pytest.raises(ImageError, match="too large: 60000 x 60000 pixels, at most 178956970"):
        decode(_bomb(form, 60000))


def test_decode_compares_with_the_given_limit_exactly(photo, encode):
    """Guards an off-by-one in the limit."""
    assert decode(encode(photo), max_pixels=48 * 64).shape == (48, 64, 3)
    with pytest.raises(ImageError, match="too large: 64 x 48"):
        decode(encode(photo), max_pixels=48 * 64 - 1)


def test_decode_refuses_floating_point_samples(photo, encode):
    """Guards samples without a fixed range being scaled by a guess."""
    with pytest.raises(ImageError, match="floating-point"):
        decode(encode(photo[..., 0].astype(np.float32), "TIFF"))


def test_decode_stacks_channels_when_an_array_is_grey(photo):
    """Guards grey datasets, which arrive as (H, W) or (H, W, 1)."""
    expected = np.repeat(photo[..., :1], 3, axis=2)
    assert np.array_equal(decode(photo[..., 0]), expected)
    assert np.array_equal(decode(photo[..., :1]), expected)
    assert decode(photo[:, ::-1]).flags.c_contiguous
    assert decode(photo) is photo


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4,), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_decode_raises_when_an_array_has_another_kind(array):
    """Guards channels-first or float arrays being taken for pixels."""
    with pytest.raises(ImageError, match=r"uint8 \(H, W\)"):
        decode(array)


def test_image_error_survives_a_trip_between_processes():
    """Guards workers that die of an error that cannot be pickled."""
    with pytest.raises(ImageError) as caught:
        decode(b"", name="x.jpg")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.name, copy.reason) == ("x.jpg", "empty file")


@pytest.mark.parametrize("times", [1, 2, 4, 8])
def test_jpeg_is_decoded_at_a_reduced_scale_in_its_own_colours(times, photo, encode):
    """Guards the flags of OpenCV, of which one for a scale alone gives blue for red, or grey."""
    whole = decode(encode(photo, "JPEG", quality=95))
    reduced = decode(encode(photo, "JPEG", quality=95), reduction=times)
    assert reduced.shape[:2] == tuple(-(-side // times) for side in whole.shape[:2])
    assert np.abs(reduced.mean(axis=(0, 1)) - whole.mean(axis=(0, 1))).max() <= 3
    png = encode(photo, "PNG")
    assert np.array_equal(decode(png, reduction=times), decode(png))


@pytest.mark.parametrize("form", ["JPEG", "WebP"])
@pytest.mark.parametrize("share", [0.4, 0.8])
def test_file_whose_end_was_never_written_is_refused(form, share, photo, encode):
    """Guards copies that were cut off: the room is there, the bytes are zeros, half the picture grey."""
    encoded = encode(cv2.resize(photo, (320, 240)), form, quality=90)
    start = encoded[: int(len(encoded) * share)]
    with pytest.raises(ImageError, match="its end is zeros"):
        decode(start + bytes(len(encoded) - len(start)))
    assert decode(encoded).shape == (240, 320, 3)


def test_jpeg_padded_with_zeros_after_its_end_is_fine(photo, encode):
    """Guards cameras that fill a file up to a block."""
    encoded = encode(photo, "JPEG")
    assert np.array_equal(decode(encoded + bytes(512)), decode(encoded))


@pytest.mark.parametrize("channels", [1, 3])
def test_floating_point_tiff_is_named_as_such(channels):
    """Guards the reason: such a file is whole, and of a kind that is not read."""
    samples = np.zeros((8, 9, channels), np.float32)
    encoded = cv2.imencode(".tiff", samples)[1].tobytes()
    with pytest.raises(ImageError, match="floating-point samples"):
        decode(encoded)


def test_mutated_images_are_decoded_or_refused(capfd):
    """Guards foreign errors, crashes, black pictures and lines on stderr: a short form of ``make fuzz``."""
    outcomes = Counter(check_image(data) for _, data in mutated_images(0, 1500))
    assert set(outcomes) == {"decoded", "refused"}
    assert min(outcomes.values()) > 200
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", seed_images())
def test_intact_image_of_each_kind_is_decoded(kind):
    """Guards the test above: damaged files say nothing if whole ones are refused."""
    assert check_image(seed_images()[kind]) == "decoded"


@pytest.mark.parametrize(
    "encoded",
    [
        b"RIFF\x08\0\0\0WEBPVP8X",
        b"II+\0\x08\0\0\0" + b"\xff" * 8,
        b"II*\0\x08\0\0\0\x01\0\x00\x01",
        b"\xff\xd8" + b"\xff" * 100_000,
    ],
)
def test_file_that_ends_in_its_header_is_refused(encoded):
    """Guards sixteen bytes that end a run: IndexError and OverflowError of a header, and endless filling."""
    assert read_header(encoded) is None
    with pytest.raises(ImageError, match="only the start of one"):
        decode(encoded)
