"""Loops over the bytes of image files, in C (``csrc/codecs.c``)."""

from typing import Any

def unfilter(data: bytes, out: Any, length: int, step: int, /) -> None:
    """Undo the filter of every row of a PNG.

    Args:
        data: the inflated data, not interlaced: for each row a filter's number and ``length`` bytes.
        out: writable buffer of ``length`` bytes for each row.
        length: bytes of a row.
        step: bytes of a pixel, 1 to 4, of 8 bits a sample.

    Raises:
        ValueError: if a filter's number is none of 0 to 4, or the sizes do not match.
    """

def lzw_length(data: bytes, bits: int, tiff: bool, least: int, /) -> tuple[int, bool]:
    """Follow the codes of LZW, without what they stand for.

    Args:
        data: the codes.
        bits: of a sample: the first codes have one more.
        tiff: whether they are packed as in a TIFF, the most significant bit first, or as in a GIF.
        least: bytes after which to stop.

    Returns:
        The bytes that the codes stand for, up to ``least`` and the rest of the last code, and whether a
        code was met that is in no table.

    Raises:
        ValueError: if ``bits`` is none of 1 to 8.
    """
