"""Walk the compressed data of a TIFF's strips before libtiff decodes them.

libtiff prints what it meets, and leaves the rest of a strip black. Each function returns what is wrong, in
words that follow "the strip", or nothing.
"""

from __future__ import annotations

import zlib


def lzw_problem(data: bytes, *, least: int) -> str:
    """Follow the codes of a strip: each must be in the table, and together make ``least`` bytes."""
    from massrl.images.codecs import lzw_length

    size, wrong = lzw_length(data, 8, True, least)
    if wrong:
        return "is damaged: a code that is in no table"
    return "is damaged: it is too short" if size < least else ""


def deflate_problem(data: bytes, *, least: int, most: int) -> str:
    """Inflate a strip to its end, and compare its checksum, which libtiff does not.

    Args:
        data: the strip.
        least: bytes that it must have.
        most: bytes after which it is given up.
    """
    inflater = zlib.decompressobj()
    try:
        size = len(inflater.decompress(data, most))
        size += len(inflater.decompress(inflater.unconsumed_tail, 1))
    except zlib.error as error:
        return f"is damaged: {error}"
    if not inflater.eof:
        return "is damaged: it has no end"
    return "is damaged: it is too short" if size < least else ""


def packbits_problem(data: bytes, *, least: int) -> str:
    """Walk the runs: each is a count and one byte, or a count and as many bytes (section 9)."""
    position = size = 0
    while position < len(data) and size < least:
        count = data[position]
        if count == 128:  # nothing
            position += 1
        elif count < 128:
            position, size = position + count + 2, size + count + 1
        else:
            position, size = position + 2, size + 257 - count
    return "is damaged: it is too short" if size < least or position > len(data) else ""
