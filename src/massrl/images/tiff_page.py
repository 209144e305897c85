"""The first page of a TIFF: its tags, what kind of picture it is, and where its data are.

Source: TIFF Revision 6.0 (1992); BigTIFF.
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # the integer field types, as struct writes them
_PREFIXES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_COLOURS = {0: "grey", 1: "grey", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "CIELab"}
_CHANNELS = {"grey": 1, "RGB": 3, "palette": 1, "CMYK": 4, "YCbCr": 3, "CIELab": 3}
_FORMATS = {
    1: "unsigned",
    2: "signed",
    3: "floating-point",
    4: "unsigned",
    5: "complex",
    6: "complex",
}
COMPRESSIONS = {
    1: "no compression",
    2: "CCITT RLE",
    3: "CCITT Group 3",
    4: "CCITT Group 4",
    5: "LZW",
    6: "old-style JPEG",
    7: "JPEG",
    8: "Deflate",
    32773: "PackBits",
    32946: "Deflate",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
    34887: "LERC",
    34925: "LZMA",
    34933: "PNG",
    34934: "JPEG XR",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
PILLOW = frozenset((1, 4, 5, 7, 8, 32773, 32946))  # compressions that Pillow always has
# Nothing tells whether all of the picture was decoded, or how large it becomes.
_NOT_READ = frozenset((2, 3, 6, 34887, 34925, 34934))
_ACCEPTED = "accepted: grey, RGB, palette, CMYK, YCbCr or CIELab of 1 to 16 unsigned bits"


class Segment(NamedTuple):
    """One strip or tile.

    Attributes:
        offset: of its first byte in the file.
        length: bytes in the file.
        rows: rows that belong to the picture, or all rows of a tile.
        full_rows: rows that it may have.
    """

    offset: int
    length: int
    rows: int
    full_rows: int


class TiffPage(NamedTuple):
    """What the tags of the first page say.

    Attributes:
        height: rows as stored.
        width: columns as stored.
        bits: of each sample of a pixel.
        samples: of a pixel.
        formats: of each sample: 1 unsigned, 2 signed, 3 floating-point.
        photometric: what the samples are: 1 grey, 2 RGB, …
        compression: its number.
        extra: of each sample beyond the colours: 0 unspecified, 1 alpha that the colours are multiplied
            by, 2 alpha.
        planar: whether every sample has strips or tiles of its own.
        tile: height and width of a tile, or of a strip.
        tiled: whether the segments are tiles.
        orientation: 1 to 8.
        fill_order: 2 if the first pixel is the least significant bit of a byte.
        predictor: 2 if each sample is stored as its difference from the one before.
    """

    height: int
    width: int
    bits: tuple[int, ...]
    samples: int
    formats: tuple[int, ...]
    photometric: int
    compression: int
    extra: tuple[int, ...]
    planar: bool
    tile: tuple[int, int]
    tiled: bool
    orientation: int
    fill_order: int
    predictor: int

    @property
    def colours(self) -> str:
        """``"grey"``, ``"RGB"``, …; ``"4 bands"`` where nothing says which of them are colours."""
        name = _COLOURS.get(self.photometric, f"photometric {self.photometric}")
        bands = self.samples - sum(value in (1, 2) for value in self.extra)
        return f"{bands} bands" if name == "grey" and bands > 1 else name

    @property
    def mode(self) -> str:
        """How a pixel is stored, as ``Header.mode`` says it."""
        channels = _CHANNELS.get(self.colours, self.samples)
        words = [self.colours, "with alpha" if self.samples > channels else ""]
        words.append(f"{max(self.bits)}-bit" if max(self.bits) > 8 else "")
        kind = self._format
        words.append("" if kind == "unsigned" else kind)
        usual = self.compression in PILLOW
        return " ".join(filter(None, words)) + ("" if usual else f", {self._compression}")

    @property
    def refusal(self) -> str:
        """Why such a picture is not accepted; empty if its kind is."""
        bits, known = self.bits[0], self.compression in COMPRESSIONS.keys() - _NOT_READ
        whole = self._format == "unsigned" and len(set(self.bits)) == 1 and 1 <= bits <= 16
        enough = self.samples >= _CHANNELS.get(self.colours, math.inf)
        fits = True
        if self.compression == 7:  # not of 12 bits
            fits = bits == 8 and not self.planar and self.colours in ("grey", "RGB", "YCbCr")
            fits = fits and self.samples == _CHANNELS[self.colours]
        elif self.colours == "YCbCr":
            fits = False
        elif self.colours in ("CMYK", "CIELab"):
            fits = fits and self.compression in PILLOW
        if self.compression == 4:
            fits = bits == self.samples == 1 and not self.tiled
        return "" if known and whole and enough and fits else self.describe_refusal()

    def describe_refusal(self) -> str:
        """Say what the picture is, and what is accepted."""
        colours = "of no named colours" if self.colours.endswith("bands") else self.colours
        bits = "+".join(map(str, sorted(set(self.bits))))
        return (
            f"TIFF of {self.samples} {'band' if self.samples == 1 else 'bands'} of {bits}-bit "
            f"{self._format} samples ({colours}, {self._compression}); {_ACCEPTED}"
        )

    @property
    def _compression(self) -> str:
        return COMPRESSIONS.get(self.compression, f"unknown compression {self.compression}")

    @property
    def _format(self) -> str:
        names = {_FORMATS.get(value, f"unknown ({value})") for value in self.formats}
        return " and ".join(sorted(names))

    def row_bytes(self) -> int:
        """Bytes of a row of one segment, not compressed."""
        samples = 1 if self.planar else self.samples
        return -(-self.tile[1] * samples * max(self.bits) // 8)

    def num_segments(self) -> int:
        """Strips or tiles that the picture consists of."""
        across = -(-self.width // self.tile[1])
        down = -(-self.height // self.tile[0])
        return across * down * (self.samples if self.planar else 1)

    @property
    def for_pillow(self) -> bool:
        """Whether Pillow decodes such a picture rightly."""
        deep = self.bits[0] == 16 and self.photometric != 0 and not self.planar
        plain = self.bits[0] in (1, 2, 4, 8) and (self.bits[0] == 8 or self.samples == 1)
        known = self.predictor == 1 or (self.predictor == 2 and self.bits[0] in (8, 16))
        return self.compression in PILLOW and known and (deep or plain)


class Tags:
    """The integer tags of the first page.

    Args:
        encoded: the file.

    Raises:
        struct.error: if the file ends inside the list of tags; ``OverflowError``, if an offset is absurd.
    """

    def __init__(self, encoded: bytes) -> None:
        self._encoded = encoded
        self._order = order = "<" if encoded[:1] == b"I" else ">"
        big = encoded[2:4] in (b"+\0", b"\0+")
        self._offset = struct.Struct(order + ("Q" if big else "I"))
        (start,) = self._offset.unpack_from(encoded, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), encoded, start)
        entry = struct.Struct(order + ("HHQ" if big else "HHI"))
        step, first, self._room = (20, 8, 8) if big else (12, 2, 4)
        self._entries: dict[int, tuple[int, int, int]] = {}
        for number in range(min(count, 4096)):
            position = start + first + number * step
            tag, kind, length = entry.unpack_from(encoded, position)
            if length:
                self._entries.setdefault(tag, (kind, length, position + entry.size))

    def all(self, tag: int, most: int = 1 << 30) -> tuple[int, ...]:
        """Return the values of a tag, at most so many; empty if it is missing or holds no integers."""
        kind, length, position = self._entries.get(tag, (0, 0, 0))
        if kind not in _INTEGERS:
            return ()
        form = _INTEGERS[kind]
        if length * struct.calcsize("=" + form) > self._room:  # the entry holds an offset
            (position,) = self._offset.unpack_from(self._encoded, position)
        count = min(length, most)
        if count * struct.calcsize("=" + form) > len(self._encoded):
            return ()
        try:
            return struct.unpack_from(f"{self._order}{count}{form}", self._encoded, position)
        except (struct.error, OverflowError):  # outside the file
            return ()

    def one(self, tag: int, default: int) -> int:
        """Return the first value of a tag."""
        return (self.all(tag, 1) or (default,))[0]

    def bytes(self, tag: int) -> bytes:
        """Return the bytes of a tag of undefined type."""
        kind, length, position = self._entries.get(tag, (0, 0, 0))
        if kind not in (1, 7):
            return b""
        if length > self._room:
            (position,) = self._offset.unpack_from(self._encoded, position)
        return self._encoded[position : position + length]


def is_tiff(encoded: bytes) -> bool:
    """Return whether a file begins as a TIFF."""
    return encoded.startswith(_PREFIXES)


def read_page(encoded: bytes) -> TiffPage | None:
    """Read the tags of the first page; None if it has no size.

    Raises:
        struct.error: if the file ends inside the list of tags; ``OverflowError``, if an offset is absurd.
    """
    tags = Tags(encoded)
    width, height = tags.one(256, 0), tags.one(257, 0)
    if not width or not height:
        return None
    samples = max(1, tags.one(277, 1))
    tiled = bool(tags.all(322, 1))
    rows = tags.one(323, 0) if tiled else min(tags.one(278, height), height)
    orientation = tags.one(274, 1)
    return TiffPage(
        height=height,
        width=width,
        bits=tags.all(258, samples) or (1,),
        samples=samples,
        formats=tags.all(339, samples) or (1,),
        photometric=tags.one(262, 1),
        compression=tags.one(259, 1),
        extra=tags.all(338, samples),
        planar=tags.one(284, 1) == 2 and samples > 1,
        tile=(max(1, rows), max(1, tags.one(322, width))),
        tiled=tiled,
        orientation=orientation if 1 <= orientation <= 8 else 1,
        fill_order=tags.one(266, 1),
        predictor=tags.one(317, 1),
    )


def read_segments(encoded: bytes, page: TiffPage) -> list[Segment]:
    """Return every strip or tile of a page, in order; a missing one has no length."""
    tags = Tags(encoded)
    offsets = tags.all(324 if page.tiled else 273) or tags.all(273)
    lengths = tags.all(325 if page.tiled else 279) or tags.all(279)
    if not lengths and len(offsets) == 1:  # old files: what remains
        lengths = (max(0, len(encoded) - offsets[0]),)
    down, segments = -(-page.height // page.tile[0]), []
    for number in range(page.num_segments()):
        known = number < min(len(offsets), len(lengths))
        top = number % down * page.tile[0]
        rows = page.tile[0] if page.tiled else min(page.tile[0], page.height - top)
        offset, length = (offsets[number], lengths[number]) if known else (0, 0)
        segments.append(Segment(offset, length, rows, page.tile[0]))
        if not known:  # the first missing one is enough to know
            break
    return segments
