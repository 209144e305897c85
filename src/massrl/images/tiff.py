"""Decode the first page of a TIFF, or say what it is.

Pillow decodes the ordinary kinds, libjpeg-turbo JPEGs, tifffile, with imagecodecs, the rest. libtiff, which
Pillow uses, goes on where data are damaged or missing, prints that and leaves black. So every segment is
checked before, and the readers are given a file of the first page that has nothing else in it.
"""

from __future__ import annotations

import io
from importlib.util import find_spec

import numpy as np
from PIL import Image, UnidentifiedImageError

from massrl.errors import ImageError, ImageKindError
from massrl.images.header import read_header
from massrl.images.jpeg import turn
from massrl.images.pillow import first_line, quiet
from massrl.images.tiff_codes import deflate_problem, lzw_problem, packbits_problem
from massrl.images.tiff_file import minimal_tiff, segment_data
from massrl.images.tiff_jpeg import decode_tiff_jpegs
from massrl.images.tiff_page import (
    COMPRESSIONS,
    Segment,
    Tags,
    TiffPage,
    read_page,
    read_segments,
)

_DEFLATE = frozenset((8, 32946))
_PICTURES = frozenset((33003, 33005, 34712, 34933, 50001, 50002, 52546))  # each segment is a file
_ZEROS = bytes(32)  # no encoder of LZW or JPEG writes as many
_SLACK = 1024  # bytes beyond a full segment


def decode_tiff(encoded: bytes, *, name: str, max_pixels: int) -> np.ndarray:
    """Decode the first page to uint8 ``(H, W, 3)``, RGB, turned upright.

    Alpha is dropped; colours that are multiplied by it are divided by it. Samples of more than 8 bits are
    scaled to 8.

    Args:
        encoded: the file.
        name: of the image, for errors.
        max_pixels: that all strips or tiles together may have.

    Raises:
        ImageKindError: if it is of a kind that is not accepted, or needs a package that is missing.
        ImageError: if a strip or tile is missing or damaged, or they are too large.
    """
    page = read_page(encoded)
    if page is None:
        raise ImageError(name, "damaged TIFF file (no size in its header)")
    if page.refusal:
        raise ImageKindError(name, page.refusal)
    check_segments(encoded, page, name=name, max_pixels=max_pixels)
    pixels = None
    try:
        if page.compression == 7:
            pixels = decode_tiff_jpegs(encoded, page, read_segments(encoded, page))
        elif page.for_pillow:
            pixels = _with_pillow(minimal_tiff(encoded, page), page)
    except Exception as error:
        raise ImageError(name, f"damaged TIFF file ({first_line(error)})") from None
    if pixels is None:
        if page.colours not in ("grey", "RGB", "palette"):
            raise ImageKindError(name, page.describe_refusal())
        samples = read_samples(encoded, page, name=name)
        pixels = _to_rgb(samples, page, encoded)
    return turn(pixels, page.orientation)


def check_segments(encoded: bytes, page: TiffPage, *, name: str, max_pixels: int) -> None:
    """Raise ``ImageError`` if a strip or tile is missing or damaged, or if they are too large."""
    area = page.num_segments() * page.tile[0] * page.tile[1]
    if area > 2 * max_pixels * (page.samples if page.planar else 1) + (1 << 22):
        size = f"its tiles have {area} pixels"
        raise ImageError(name, f"too large: {size}, at most {max_pixels} are decoded")
    for number, segment in enumerate(read_segments(encoded, page)):
        problem = _problem(encoded, page, segment)
        if problem:
            part = "tile" if page.tiled else "strip"
            total = page.num_segments()
            reason = f"truncated or damaged TIFF file ({part} {number + 1} of {total} {problem})"
            raise ImageError(name, reason)


def _problem(encoded: bytes, page: TiffPage, segment: Segment) -> str:
    """Say what is wrong with a strip or tile; empty if nothing is."""
    if not segment.length or not segment.offset:
        return "is missing"
    if segment.offset + segment.length > len(encoded):
        return "lies beyond the end of the file"
    data = segment_data(encoded, page, segment)
    least, most = (rows * page.row_bytes() for rows in (segment.rows, segment.full_rows))
    if page.compression == 1:
        longest = most + most // 8 + _SLACK
        return "is too short" if len(data) < least else "is too long" * (len(data) > longest)
    if page.compression in _DEFLATE:
        return deflate_problem(data, least=least, most=most + _SLACK)
    if page.compression == 32773:
        return packbits_problem(data, least=least)
    if page.compression in (5, 7) and _ZEROS in data:
        return "was never written: it has zeros"
    if page.compression == 5:
        return lzw_problem(data, least=least)
    if page.compression in _PICTURES:
        return _picture_problem(data, page)
    return ""


def _picture_problem(data: bytes, page: TiffPage) -> str:
    """Compare the size in a segment's own header with that of the tags, before it is decoded."""
    if data[:4] == b"\xff\x4f\xff\x51":  # JPEG 2000: the size and origin of the reference grid
        right, bottom, left, top = (int.from_bytes(data[n : n + 4], "big") for n in (8, 12, 16, 20))
        size = (bottom - top, right - left)
    else:
        header = read_header(data)
        if header is None:
            return ""  # the decoder refuses it, or is JPEG XL's
        size = (header.height, header.width)
    fits = size[0] <= page.tile[0] and size[1] <= page.tile[1]
    return "" if fits else f"says {size[1]} x {size[0]} pixels"


def _with_pillow(encoded: bytes, page: TiffPage) -> np.ndarray | None:
    """Decode a minimal file with Pillow, not turned; None if it does not know the kind."""
    try:
        with quiet(), Image.open(io.BytesIO(encoded)) as opened:
            if page.compression == 4 and not _is_encoded_as(opened, encoded):
                raise ValueError("its strips are not what its pixels are encoded as")
            picture = opened.convert("LA") if opened.mode == "La" else opened
            if picture.mode == "P":
                return _coloured(np.array(picture), _palette(encoded))
            if picture.mode.startswith("I;16"):
                return _grey(np.array(picture) >> 8)
            return np.array(picture.convert("RGB"))
    except UnidentifiedImageError:
        return None


def _is_encoded_as(picture: Image.Image, encoded: bytes) -> bool:
    """Encode a picture again in CCITT Group 4, which knows one way only, and compare the strips.

    libtiff leaves white where the data are damaged, and nobody hears it.
    """
    stream, page = io.BytesIO(), read_page(encoded)
    assert page is not None
    pixels = Image.fromarray(np.array(picture))
    tags = {262: page.photometric}
    size = page.tile[0] * page.row_bytes()
    pixels.save(stream, "TIFF", compression="group4", tiffinfo=tags, strip_size=size)
    again = stream.getvalue()
    copy = read_page(again)
    return copy is not None and _strips(encoded, page) == _strips(again, copy)


def _strips(encoded: bytes, page: TiffPage) -> list[bytes]:
    strips = read_segments(encoded, page)
    return [segment_data(encoded, page, strip).rstrip(b"\0") for strip in strips]


def read_samples(encoded: bytes, page: TiffPage, *, name: str) -> np.ndarray:
    """Read the samples of a page whose segments are checked: ``(H, W)`` or ``(H, W, samples)``, as stored.

    Raises:
        ImageKindError: if a package is missing that is needed for the compression.
        ImageError: if they cannot be read.
    """
    import tifffile

    try:
        minimal = io.BytesIO(minimal_tiff(encoded, page))
        with quiet(), tifffile.TiffFile(minimal) as file:
            samples = np.asarray(file.pages.first.asarray(maxworkers=1))
    except Exception as error:
        if not find_spec("imagecodecs"):
            kind = f"{COMPRESSIONS.get(page.compression)}, {page.bits[0]} bits"
            reason = f"TIFF of a kind ({kind}) that needs imagecodecs: pip install 'massrl[tiff]'"
            raise ImageKindError(name, reason) from None
        raise ImageError(name, f"damaged TIFF file ({first_line(error)})") from None
    if page.planar:
        samples = np.moveaxis(samples, 0, -1)
    expected = (page.height, page.width) + ((page.samples,) if page.samples > 1 else ())
    if samples.shape != expected:
        raise ImageError(name, f"damaged TIFF file (samples of shape {samples.shape})")
    return samples


def _to_rgb(samples: np.ndarray, page: TiffPage, encoded: bytes) -> np.ndarray:
    """Convert unsigned samples of up to 16 bits."""
    top = (1 << page.bits[0]) - 1
    if page.colours == "palette":
        return _coloured(samples[..., 0] if samples.ndim == 3 else samples, _palette(encoded))
    colours = samples[..., : 3 if page.colours == "RGB" else 1] if samples.ndim == 3 else samples
    if 1 in page.extra:
        alpha = samples[..., page.samples - len(page.extra) + page.extra.index(1), None]
        divided = np.round(colours / np.maximum(alpha, 1) * top)
        colours = np.where(alpha, np.minimum(divided, top), 0).astype(samples.dtype)
    if page.photometric == 0:
        colours = top - colours
    if page.bits[0] > 8:
        colours = colours >> (page.bits[0] - 8)
    elif page.bits[0] < 8:
        colours = colours.astype(np.uint16) * 255 // top
    colours = colours.astype(np.uint8)
    return colours if page.colours == "RGB" else _grey(colours.reshape(samples.shape[:2]))


def _grey(samples: np.ndarray) -> np.ndarray:
    return np.repeat(samples.astype(np.uint8)[..., None], 3, axis=2)


def _palette(encoded: bytes) -> np.ndarray:
    """Return the colours of a palette, uint8 ``(n, 3)``."""
    values = np.array(Tags(encoded).all(320), np.uint16).reshape(3, -1).T
    # Entries have 16 bits; old programs wrote 8, and libtiff takes those for what they are.
    return (values >> 8 if values.max(initial=0) > 255 else values).astype(np.uint8)


def _coloured(indices: np.ndarray, palette: np.ndarray) -> np.ndarray:
    if indices.max() >= len(palette):
        raise ValueError("an index beyond its palette")
    return np.asarray(palette[indices])
