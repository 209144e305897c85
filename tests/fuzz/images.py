"""Damaged images of every format, and what may become of one: pixels, or one line that refuses it."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache

import cv2
import numpy as np
import tifffile
from PIL import Image

from massrl.errors import ImageError
from massrl.images.decode import decode
from massrl.images.header import read_header
from massrl.images.tiff_page import is_tiff, read_page
from tests.fuzz import case

_RAW = ("bmp", "tiff-raw")  # nothing tells zeros in them from black
_EXTREMES = (0, 1, 2, 3, 7, 0x7F, 0x80, 0xFF)
_MAX_PIXELS = 4_000_000  # enough to reach every limit, and quick


class Cases(case.Cases):
    """See ``tests.fuzz.case.Cases``."""

    def run(self, generator: np.random.Generator) -> None:
        """Decode one damaged image."""
        kinds = list(seed_images().items())
        kind, data = kinds[generator.integers(len(kinds))]
        _, data = _mutated(kind, data, random.Random(int(generator.integers(1 << 62))))
        try:
            outcome = check_image(data)
        except AssertionError as error:
            raise case.FaultError(f"{kind}: {error}") from error
        if outcome == "refused":
            decode(data, max_pixels=_MAX_PIXELS)


def check_image(data: bytes) -> str:
    """Decode a file that may be damaged.

    Returns:
        ``"decoded"`` or ``"refused"``.

    Raises:
        AssertionError: if it ends in any other way: another exception, a message of several lines, pixels
            of another kind than uint8 RGB, or a picture that is mostly black, which no seed is, and which
            another reader refuses or does not see.
    """
    try:
        read_header(data)
        pixels = decode(data, name="a/b", max_pixels=_MAX_PIXELS)
    except ImageError as refusal:
        if not str(refusal).startswith("a/b: ") or "\n" in str(refusal):
            raise AssertionError(f"not one line with its name: {refusal!r}") from refusal
        return "refused"
    except Exception as error:
        raise AssertionError(f"{type(error).__name__}: {error}") from error
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert _black(pixels) <= 0.5 or _is_truly_black(data), f"{_black(pixels):.0%} of it is black"
    return "decoded"


def _black(pixels: np.ndarray) -> float:
    return float((pixels.max(axis=2) == 0).mean())


def _is_truly_black(data: bytes) -> bool:
    """Whether a damaged file says black itself: a changed palette, table or size, or raw samples."""
    page = read_page(data) if is_tiff(data) else None
    if page is not None or data.startswith(b"BM"):
        return page is None or page.compression == 1
    try:
        if data.startswith(b"GIF"):  # Pillow's here
            other = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        else:
            with Image.open(io.BytesIO(data)) as opened:
                other = np.asarray(opened.convert("RGB"))
    except Exception:
        return False
    return other is not None and _black(np.asarray(other)) > 0.5


def mutated_images(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of damaged files, the same ones for the same seed; every format in turn."""
    kinds = list(seed_images().items())
    for number in range(count):
        kind, data = kinds[number % len(kinds)]
        names, data = _mutated(kind, data, random.Random(f"{seed}/{number}"))
        yield f"{number}-{kind}-{names}", data


def _mutated(kind: str, data: bytes, draw: random.Random) -> tuple[str, bytes]:
    """Damage a file in one to three ways; return their names too."""
    allowed = [name for name in _MUTATIONS if not (kind.startswith(_RAW) and "zero" in name)]
    chosen = [draw.choice(allowed) for _ in range(draw.choice((1, 1, 2, 3)))]
    for name in chosen:
        data = _MUTATIONS[name](data, draw)
    if kind.startswith("png") and draw.random() < 0.7:
        data = _with_checksums(data)
    return "+".join(chosen), data


@cache
def seed_images() -> dict[str, bytes]:
    """Return intact files by kind: 41 x 34 pixels, none of them black."""
    y, x = np.mgrid[:34, :41]
    rgb = np.stack([60 + 4 * x, 70 + 5 * y, 90 + (x * y) % 150], axis=2).astype(np.uint8)
    picture = Image.fromarray(rgb)
    alpha = Image.fromarray(np.dstack([rgb, 255 - rgb[..., 0]]))
    deep = Image.fromarray(rgb[..., 0].astype(np.uint16) * 257)
    files = {
        "jpeg": _saved(picture, "JPEG", quality=90),
        "jpeg-progressive": _saved(picture, "JPEG", progressive=True),
        "jpeg-grey": _saved(picture.convert("L"), "JPEG"),
        "jpeg-cmyk": _saved(picture.convert("CMYK"), "JPEG"),
        "jpeg-restarts": _saved(picture, "JPEG", restart_marker_blocks=2),
        "jpeg-exif": _saved(picture, "JPEG", exif=_exif(6)),
        "png": _saved(picture, "PNG"),
        "png-alpha": _saved(alpha, "PNG"),
        "png-palette": _saved(picture.quantize(32), "PNG"),
        "png-16": _saved(deep, "PNG"),
        "png-interlaced": interlaced_png(rgb),
        "png-notes": _saved(picture, "PNG", exif=_exif(3), icc_profile=b"x" * 200),
        "webp": _saved(picture, "WEBP"),
        "webp-lossless": _saved(alpha, "WEBP", lossless=True),
        "webp-animated": _saved(picture, "WEBP", save_all=True, append_images=[picture.rotate(9)]),
        "webp-exif": _saved(picture, "WEBP", exif=_exif(8)),
        "gif": _saved(picture.quantize(32), "GIF"),
        "gif-animated": _saved(picture, "GIF", save_all=True, append_images=[picture.rotate(9)]),
        "bmp": _saved(picture, "BMP"),
        "bmp-palette": _saved(picture.quantize(32), "BMP"),
        "tiff-raw": _saved(picture, "TIFF"),
        "tiff-raw-16": _saved(deep, "TIFF"),
        "tiff-raw-palette": _saved(picture.quantize(32), "TIFF"),
        "tiff-raw-bits": _saved(
            picture.convert("L").point(lambda value: 255 * (value > 75), "1"), "TIFF"
        ),
    }
    for compression in ("lzw", "adobe_deflate", "packbits"):
        files[f"tiff-{compression}"] = _saved(picture, "TIFF", compression=f"tiff_{compression}")
    files["tiff-packbits"] = _saved(picture, "TIFF", compression="packbits")
    files["tiff-jpeg"] = _saved(picture, "TIFF", compression="jpeg")
    files["tiff-cmyk"] = _saved(picture.convert("CMYK"), "TIFF", compression="tiff_lzw")
    for name, options in {
        "tiff-raw-tiled": {"tile": (16, 16)},
        "tiff-tiled": {"tile": (16, 16), "compression": "zlib", "predictor": True},
        "tiff-raw-planar": {"planarconfig": "separate", "rowsperstrip": 8},
        "tiff-raw-big": {"bigtiff": True, "byteorder": ">"},
    }.items():
        stream = io.BytesIO()
        image = np.moveaxis(rgb, 2, 0) if "planar" in name else rgb
        tifffile.imwrite(stream, image, photometric="rgb", **options)
        files[name] = stream.getvalue()
    return files


def interlaced_png(pixels: np.ndarray) -> bytes:
    """Write uint8 ``(H, W, 3)`` as a PNG in the seven passes of Adam7 (PNG specification, section 8.2)."""
    height, width = pixels.shape[:2]
    rows = b""
    for top, left, down, across in (
        (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1),
    ):  # fmt: skip
        part = pixels[top::down, left::across]
        rows += b"".join(b"\0" + row.tobytes() for row in part if row.size)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


def _saved(picture: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x112] = orientation
    return exif


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _with_checksums(data: bytes) -> bytes:
    """Set the checksums of a PNG right, so that the damage reaches the decoder."""
    parts, position = [data[:8]], 8
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        if position + 12 + length > len(data):
            break
        parts.append(
            _chunk(data[position + 4 : position + 8], data[position + 8 : position + 8 + length])
        )
        position += 12 + length
    return b"".join(parts) + data[position:]


def _place(data: bytes, draw: random.Random) -> int:
    """Draw a position: every other time among the first bytes, where the headers are."""
    end = max(1, len(data))
    return draw.randrange(min(end, 300) if draw.random() < 0.5 else end)


def _flip_bit(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data or b"\0")
    changed[_place(data, draw)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _set_number(data: bytes, draw: random.Random) -> bytes:
    """Overwrite two, four or eight bytes by a number that is too small or too large."""
    place, size = _place(data, draw), draw.choice((1, 2, 4, 8))
    number = draw.choice(
        (bytes(size), b"\xff" * size, b"\x7f" + b"\xff" * (size - 1), b"\1" + bytes(size - 1))
    )
    return data[:place] + draw.choice((number, number[::-1])) + data[place + size :]


def _set_byte(data: bytes, draw: random.Random) -> bytes:
    place = _place(data, draw)
    value = draw.choice((*_EXTREMES, draw.randrange(256)))
    return data[:place] + bytes([value]) + data[place + 1 :]


def _cut(data: bytes, draw: random.Random) -> bytes:
    return data[: _place(data, draw)]


def _zero_tail(data: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(max(1, len(data)))
    return data[:place] + bytes(len(data) - place)


def _zero_middle(data: bytes, draw: random.Random) -> bytes:
    place = len(data) // 4
    length = draw.randrange(max(1, len(data) // 2))
    return data[:place] + bytes(length) + data[place + length :]


def _delete(data: bytes, draw: random.Random) -> bytes:
    place = _place(data, draw)
    return data[:place] + data[place + draw.choice((1, 2, 16, 200)) :]


def _repeat(data: bytes, draw: random.Random) -> bytes:
    place, length = _place(data, draw), draw.choice((1, 4, 64, 500))
    return data[: place + length] + data[place:]


def _noise(data: bytes, draw: random.Random) -> bytes:
    place, length = _place(data, draw), draw.choice((2, 8, 64))
    return data[:place] + draw.randbytes(length) + data[place + length :]


def _other_file(data: bytes, draw: random.Random) -> bytes:
    """Put a part of another file in."""
    other = draw.choice(list(seed_images().values()))
    place, start = _place(data, draw), draw.randrange(len(other))
    part = other[start : start + draw.choice((4, 40, 400))]
    return data[:place] + part + data[place + len(part) :]


_MUTATIONS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bit": _flip_bit,
    "number": _set_number,
    "byte": _set_byte,
    "cut": _cut,
    "zero-tail": _zero_tail,
    "zero-middle": _zero_middle,
    "delete": _delete,
    "repeat": _repeat,
    "noise": _noise,
    "other": _other_file,
}
