"""The first page of a TIFF as a file of its own: only the tags that pixels need, and the strips or tiles.

Readers complain about other tags, some of them on stderr, and about what stands between the parts of a file.
"""

from __future__ import annotations

import struct

from massrl.images.tiff_page import Segment, Tags, TiffPage, read_segments

_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def segment_data(encoded: bytes, page: TiffPage, segment: Segment) -> bytes:
    """Return the bytes of a strip or tile, the first pixel in the most significant bit."""
    data = encoded[segment.offset : segment.offset + segment.length]
    return data.translate(_REVERSED) if page.fill_order == 2 else data


def minimal_tiff(encoded: bytes, page: TiffPage) -> bytes:
    """Return a TIFF of the first page alone, in the byte order of the file, to be turned upright later."""
    source, order = Tags(encoded), "<" if encoded[:1] == b"I" else ">"
    tags: dict[int, tuple[int, ...]] = {
        256: (page.width,),
        257: (page.height,),
        258: page.bits * (page.samples if len(page.bits) == 1 else 1),
        259: (page.compression,),
        262: (page.photometric,),
        277: (page.samples,),
        284: (2 if page.planar else 1,),
        317: (page.predictor,),
        320: source.all(320, 1 << 18) if page.colours == "palette" else (),
        338: page.extra,
        339: page.formats * (page.samples if len(page.formats) == 1 else 1),
    }
    sizes = zip((323, 322), page.tile, strict=True) if page.tiled else [(278, page.tile[0])]
    tags |= {tag: (size,) for tag, size in sizes}
    parts = [segment_data(encoded, page, segment) for segment in read_segments(encoded, page)]
    offsets, position = [], 8
    for part in parts:
        offsets.append(position)
        position += len(part)
    first, second = (324, 325) if page.tiled else (273, 279)
    tags |= {first: tuple(offsets), second: tuple(map(len, parts))}
    tags = {tag: values for tag, values in sorted(tags.items()) if values}
    position += position % 2
    start = position + 2 + 12 * len(tags) + 4
    entries, tail = b"", b""
    for tag, values in tags.items():
        wide = max(values) > 0xFFFF or tag in (first, second)
        packed = struct.pack(f"{order}{len(values)}{'I' if wide else 'H'}", *values)
        field = packed.ljust(4, b"\0")
        if len(packed) > 4:
            field = struct.pack(order + "I", start + len(tail))
            tail += packed
        entries += struct.pack(order + "HHI", tag, 4 if wide else 3, len(values)) + field
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", position)
    body = b"".join((head, *parts)).ljust(position, b"\0")
    return b"".join((body, struct.pack(order + "H", len(tags)), entries, bytes(4), tail))
