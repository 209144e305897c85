"""Walk the compressed data of a GIF's first frame: Pillow leaves black what is missing of it.

Source: Graphics Interchange Format, Version 89a (CompuServe, 1990), sections 17 to 22 and appendix F.
"""

from __future__ import annotations

import struct


def gif_problem(encoded: bytes) -> str:
    """Say what is wrong with the first frame; empty if all its pixels are there.

    Raises:
        IndexError: if the file ends before them; ``struct.error`` likewise.
    """
    from massrl.images.codecs import lzw_length

    position = 13 + _palette_bytes(encoded[10])
    while encoded[position] == 0x21:  # notes and settings
        _, position = _blocks(encoded, position + 2)
    if encoded[position] != 0x2C:
        return "no frame"
    width, height, flags = struct.unpack_from("<HHB", encoded, position + 5)
    position += 10 + _palette_bytes(flags)
    bits, pixels = encoded[position], width * height
    data, _ = _blocks(encoded, position + 1)
    if not 1 <= bits <= 8:
        return "a code size that no GIF has"
    found, _ = lzw_length(data, bits, False, pixels)
    return f"{found} of {pixels} pixels" if found < pixels else ""


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _blocks(encoded: bytes, position: int) -> tuple[bytes, int]:
    """Return the bytes of a row of blocks, and the position behind them."""
    parts = []
    while length := encoded[position]:
        parts.append(encoded[position + 1 : position + 1 + length])
        position += 1 + length
    return b"".join(parts), position + 1
