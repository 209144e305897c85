"""Pictures, embedded in the page as data, and galleries of nearest neighbours."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from massrl.errors import DataError
from massrl.report.content import Block, PageContext

_THUMBNAIL = 160  # pixels: twice the size on the page, for high-resolution screens
_KINDS = (
    (b"\x89PNG", b"IEND\xaeB`\x82", "image/png"),
    (b"\xff\xd8\xff", b"\xff\xd9", "image/jpeg"),
)
"""How a file begins and, if it is whole, ends, and its type."""


@dataclass(frozen=True, kw_only=True)
class Picture(Block):
    """An image with a caption.

    Attributes:
        image: uint8 ``(H, W, 3)``, RGB, or the path of a PNG or JPEG file.
        caption: text under it; may be empty.
        alt: what it shows, for those who cannot see it; the caption where empty.
    """

    image: NDArray[np.uint8] | Path
    caption: str = ""
    alt: str = ""

    def html(self, page: PageContext) -> str:
        """Return a figure that scrolls where it is wider than the screen, rather than shrinks."""
        data, width, height = _embedded(self.image, limit=None)
        alt = self.alt or self.caption or "picture"
        caption = f"<figcaption>{escape(self.caption)}</figcaption>" if self.caption else ""
        size = f'width="{width}" height="{height}" style="min-width:{min(width, 720)}px"'
        return (
            f'<figure class="card picture">{scroll_box(alt)}<img src="{data}" {size} '
            f'alt="{escape(alt, quote=True)}"></div>{caption}</figure>'
        )


_MARKS = {
    True: ("right", "✓ ", "right"),
    False: ("wrong", "✗ ", "wrong"),
    None: ("", "", "nearest"),
}


@dataclass(frozen=True, kw_only=True)
class Gallery(Block):
    """Images with their nearest neighbours.

    Attributes:
        title: of the gallery.
        rows: a query and its nearest images, each with whether it is right; ``None``: not known.
        note: one sentence under the title.
    """

    title: str
    rows: Sequence[tuple[Picture, Sequence[tuple[Picture, bool | None]]]]
    note: str = ""

    def html(self, page: PageContext) -> str:
        """Return a row for each query; right and wrong are told apart by colour and mark."""
        rows = []
        for query, nearest in self.rows:
            items = [_thumbnail(query, kind="query", mark="", role="query")]
            for picture, right in nearest:
                kind, mark, role = _MARKS[right]
                items.append(_thumbnail(picture, kind=kind, mark=mark, role=role))
            rows.append(f'<li><ul class="row">{"".join(items)}</ul></li>')
        note = f'<p class="note">{escape(self.note)}</p>' if self.note else ""
        return (
            f'<section class="card"><h3>{escape(self.title)}</h3>{note}'
            f'<ul class="gallery">{"".join(rows)}</ul></section>'
        )


def scroll_box(name: str) -> str:
    """Return the start tag of a scrollable box, which the keyboard can reach too."""
    label = escape(name, quote=True)
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">'


def _thumbnail(picture: Picture, *, kind: str, mark: str, role: str) -> str:
    data, width, height = _embedded(picture.image, limit=_THUMBNAIL)
    tiny = " tiny" if max(width, height) <= 72 else ""
    alt = escape(f"{role}: {picture.alt or picture.caption or 'image'}", quote=True)
    name = f"<span>{mark}{escape(picture.caption)}</span>" if mark or picture.caption else ""
    return f'<li class="thumb {kind}{tiny}"><img src="{data}" alt="{alt}">{name}</li>'


def picture_file(path: Path) -> tuple[str, NDArray[np.uint8]]:
    """Return a PNG or JPEG file as a ``data:`` URL, and its pixels: uint8 ``(height, width, 3)``, BGR.

    Raises:
        DataError: if it cannot be read, or is no such file or not a whole one.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    for start, end, kind in _KINDS:
        if content.startswith(start) and content.endswith(end):
            pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
            if pixels is not None:
                url = f"data:{kind};base64,{base64.b64encode(content).decode()}"
                return url, np.asarray(pixels, np.uint8)
    raise DataError(f"{path} cannot be shown: a PNG or JPEG file that is whole is wanted")


def _embedded(image: NDArray[np.uint8] | Path, *, limit: int | None) -> tuple[str, int, int]:
    """Return an image as a ``data:`` URL with its width and height, at most ``limit`` pixels."""
    if isinstance(image, Path):
        url, pixels = picture_file(image)
        if limit is None:
            return url, pixels.shape[1], pixels.shape[0]
    else:
        pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    height, width = pixels.shape[:2]
    if limit is not None and max(height, width) > limit:
        scale = limit / max(height, width)
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".png", pixels)
    return f"data:image/png;base64,{base64.b64encode(encoded.tobytes()).decode()}", width, height
