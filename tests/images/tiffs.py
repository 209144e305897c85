"""Write TIFFs of any tags, as files are found that no library writes."""

from __future__ import annotations

import struct
from collections.abc import Sequence

_TYPES = {1: "B", 3: "H", 4: "I", 7: "B"}


def tiff(
    segments: Sequence[bytes],
    *,
    size: tuple[int, int],
    tags: dict[int, tuple[int, Sequence[int]]] | None = None,
    order: str = "<",
) -> bytes:
    """Write a TIFF of one page, of strips unless ``tags`` has a tile's size.

    Args:
        segments: the contents of the strips or tiles.
        size: height and width.
        tags: type and values by number, besides or instead of those of an RGB picture of 8 bits.
        order: ``"<"`` or ``">"``, of the bytes.
    """
    height, width = size
    rows = -(-height // len(segments))
    all_tags: dict[int, tuple[int, Sequence[int]]] = {
        256: (4, [width]), 257: (4, [height]), 258: (3, [8, 8, 8]), 259: (3, [1]), 262: (3, [2]),
        277: (3, [3]), 278: (4, [rows]),
    }  # fmt: skip
    all_tags |= tags or {}
    tiled = 322 in all_tags
    position, offsets = 8, []
    for segment in segments:
        offsets.append(position)
        position += len(segment)
    all_tags.setdefault(324 if tiled else 273, (4, offsets))
    all_tags.setdefault(325 if tiled else 279, (4, [len(segment) for segment in segments]))
    position += position % 2
    entries, tail = b"", b""
    start = position + 2 + 12 * len(all_tags) + 4
    for tag, (kind, values) in sorted(all_tags.items()):
        packed = struct.pack(f"{order}{len(values)}{_TYPES[kind]}", *values)
        if len(packed) > 4:
            field = struct.pack(order + "I", start + len(tail))
            tail += packed
        else:
            field = packed.ljust(4, b"\0")
        entries += struct.pack(order + "HHI", tag, kind, len(values)) + field
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", position)
    body = b"".join(segments).ljust(position - 8, b"\0")
    return head + body + struct.pack(order + "H", len(all_tags)) + entries + bytes(4) + tail
