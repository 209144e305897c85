"""PNGs: pixels of every kind by two ways, and every fault that libpng would print about."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from tests.fuzz.images import interlaced_png

from massrl.errors import ImageError
from massrl.images import png as module
from massrl.images.decode import decode
from massrl.images.png import PngError, read_png


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(header: tuple[int, ...], *chunks: tuple[bytes, bytes]) -> bytes:
    packed = struct.pack(">IIBBBBB", *header)
    parts = [(b"IHDR", packed), *chunks, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


ROW = b"\0" + b"\x50" * 24
DATA = zlib.compress(ROW * 8)
RGB = (8, 8, 8, 2, 0, 0, 0)


def filtered(pixels: np.ndarray, kinds: np.ndarray) -> bytes:
    """Filter each row as its number says, byte by byte (PNG specification, section 9)."""
    height, width, step = pixels.shape
    above, out = np.zeros(width * step, int), b""
    for row, kind in zip(pixels.reshape(height, -1).astype(int), kinds, strict=True):
        left = np.concatenate([np.zeros(step, int), row[:-step]])
        corner = np.concatenate([np.zeros(step, int), above[:-step]])
        guess = left + above - corner
        distances = np.stack([abs(guess - item) for item in (left, above, corner)])
        nearest = np.choose(distances.argmin(axis=0), [left, above, corner])
        predicted = [0 * row, left, above, (left + above) // 2, nearest][kind]
        out += bytes([kind]) + ((row - predicted) % 256).astype(np.uint8).tobytes()
        above = row
    return out


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
@pytest.mark.parametrize("size", [(13, 17), (1, 1), (5, 1)])
def test_every_filter_is_undone(colour, channels, size):
    """Guards a wrong predictor in C: against a transcription of the specification."""
    draw = np.random.default_rng(colour)
    pixels = draw.integers(0, 256, (*size, channels), dtype=np.uint8)
    kinds = np.arange(size[0]) % 5
    header = (size[1], size[0], 8, colour, 0, 0, 0)
    encoded = png(header, (b"IDAT", zlib.compress(filtered(pixels, kinds))))
    colours = pixels[..., :3] if channels > 2 else pixels[..., :1].repeat(3, axis=2)
    assert np.array_equal(decode(encoded), colours)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "1"])
def test_without_the_built_part_opencv_decodes_the_same(mode, photo, encode, monkeypatch):
    """Guards the slower way, of interlaced files and other depths, and of a package that is not built."""
    encoded = encode(Image.fromarray(photo).convert(mode))
    expected = decode(encoded)
    monkeypatch.setattr(module, "unfilter", None)
    assert np.array_equal(decode(encoded), expected)


def test_interlaced_picture_is_whole(photo, capfd):
    """Guards the seven passes."""
    encoded = interlaced_png(photo[:37, :21])
    assert np.array_equal(decode(encoded), photo[:37, :21])
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "encoded",
    [
        png(RGB, (b"IDAT", zlib.compress((b"\x09" + ROW[1:]) * 8))),
        png(RGB, (b"IDAT", zlib.compress(ROW * 7))),
        png(RGB, (b"IDAT", zlib.compress(ROW * 9))),
        png(RGB, (b"IDAT", DATA[:-1] + bytes([DATA[-1] ^ 1]))),
        png(RGB, (b"IDAT", DATA[:-6])),
        png(RGB, (b"IDAT", b"\0" * 30)),
        png(RGB),
        png((8, 8, 3, 2, 0, 0, 0), (b"IDAT", DATA)),
        png((8, 8, 8, 5, 0, 0, 0), (b"IDAT", DATA)),
        png((8, 8, 8, 2, 1, 0, 0), (b"IDAT", DATA)),
        png((8, 8, 8, 2, 0, 1, 0), (b"IDAT", DATA)),
        png((8, 8, 8, 2, 0, 0, 2), (b"IDAT", DATA)),
        png((8, 8, 8, 3, 0, 0, 0), (b"IDAT", zlib.compress((b"\0" + b"\1" * 8) * 8))),
        png((8, 8, 8, 3, 0, 0, 0), (b"PLTE", b"12345"), (b"IDAT", zlib.compress((b"\0" * 9) * 8))),
    ],
)
def test_fault_with_right_checksums_is_an_error_and_prints_nothing(encoded, capfd):
    """Guards libpng's own lines: filters, sizes, checksums of data, headers and palettes."""
    with pytest.raises(ImageError, match="truncated or damaged PNG"):
        decode(encoded)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "extra",
    [
        [(b"tRNS", b"1")],
        [(b"PLTE", b"123456")] * 2,
        [(b"eXIf", b"zz")],
        [(b"eXIf", b"")],
        [(b"eXIf", b"II*\0\x08\0\0\0\0\0")] * 2,
        [(b"iCCP", b"garbage" * 9)],
        [(b"zTXt", b"a\0\0" + zlib.compress(bytes(64 << 20)))],
        [(b"gAMA", b"\0")],
    ],
)
def test_notes_that_are_wrong_leave_the_picture_whole(extra, capfd):
    """Guards libpng's warnings about what has no pixels, and notes that inflate to gigabytes."""
    pixels = decode(png(RGB, *extra, (b"IDAT", DATA)))
    assert (pixels == 0x50).all()
    assert capfd.readouterr().err == ""


def test_data_that_inflate_without_end_are_refused_early():
    """Guards kilobytes that become gigabytes: only a picture's worth is inflated."""
    with pytest.raises(PngError, match="do not end where"):
        read_png(png(RGB, (b"IDAT", zlib.compress(bytes(64 << 20)))), max_bytes=1 << 20)
    with pytest.raises(PngError, match="too large: 400010000 bytes"):
        read_png(png((10_000, 10_000, 16, 4, 0, 0, 0), (b"IDAT", DATA)), max_bytes=1 << 20)


def test_kernel_refuses_sizes_that_do_not_match():
    """Guards memory beyond a buffer."""
    unfilter = pytest.importorskip("massrl.images.codecs").unfilter
    out = np.zeros(12, np.uint8)
    for data, length, step in (
        (bytes(13), 6, 3),
        (bytes(14), 0, 3),
        (bytes(14), 6, 5),
        (bytes(14), 5, 1),
        (b"", 6, 3),
    ):
        with pytest.raises(ValueError, match="sizes"):
            unfilter(data, out, length, step)
    with pytest.raises(ValueError, match="filter"):
        unfilter(b"\x05" + bytes(13), out, 6, 3)
