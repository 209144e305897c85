"""Pictures inside the page: files and arrays as data, galleries of nearest neighbours."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from massrl.errors import DataError
from massrl.report.content import Gallery, Picture

_THUMBNAIL = 160  # pixels: twice what is shown, for screens with small pixels
_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg"}


def figure(picture: Picture) -> str:
    """A picture with its caption; what is wider than the screen is scrolled, not shrunk away."""
    data, width, height = _embedded(picture.image, limit=None)
    alt = picture.alt or picture.caption or "picture"
    caption = f"<figcaption>{escape(picture.caption)}</figcaption>" if picture.caption else ""
    size = f'width="{width}" height="{height}" style="min-width:{min(width, 720)}px"'
    return (
        f'<figure class="card picture">{scroll_box(alt)}<img src="{data}" {size} '
        f'alt="{escape(alt, quote=True)}"></div>{caption}</figure>'
    )


def scroll_box(name: str) -> str:
    """The start of a box whose content may be wider than the screen; keyboards reach it too."""
    label = escape(name, quote=True)
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">'


def gallery(content: Gallery) -> str:
    """Rows of a query and its nearest images, right and wrong told apart by colour and mark."""
    rows = []
    for query, nearest in content.rows:
        items = [_thumbnail(query, kind="query", mark="", says="query")]
        for picture, right in nearest:
            kind, mark, says = {
                True: ("right", "✓ ", "right"),
                False: ("wrong", "✗ ", "wrong"),
                None: ("", "", "nearest"),
            }[right]
            items.append(_thumbnail(picture, kind=kind, mark=mark, says=says))
        rows.append(f'<li><ul class="row">{"".join(items)}</ul></li>')
    note = f'<p class="note">{escape(content.note)}</p>' if content.note else ""
    return (
        f'<section class="card"><h3>{escape(content.title)}</h3>{note}'
        f'<ul class="gallery">{"".join(rows)}</ul></section>'
    )


def _thumbnail(picture: Picture, *, kind: str, mark: str, says: str) -> str:
    data, width, height = _embedded(picture.image, limit=_THUMBNAIL)
    tiny = " tiny" if max(width, height) <= 72 else ""
    alt = escape(f"{says}: {picture.alt or picture.caption or 'image'}", quote=True)
    name = f"<span>{mark}{escape(picture.caption)}</span>" if mark or picture.caption else ""
    return f'<li class="thumb {kind}{tiny}"><img src="{data}" alt="{alt}">{name}</li>'


def _embedded(image: NDArray[np.uint8] | Path, *, limit: int | None) -> tuple[str, int, int]:
    """An image as a data address, with its width and height; shrunk to ``limit`` pixels."""
    if isinstance(image, Path):
        try:
            content = image.read_bytes()
        except OSError as error:
            raise DataError(f"cannot read {image}: {error.strerror or error}") from None
        kind = next((kind for start, kind in _TYPES.items() if content.startswith(start)), None)
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if kind else None
        if decoded is None:
            raise DataError(f"{image} is no picture that a page can show: PNG or JPEG is wanted")
        if limit is None:
            height, width = decoded.shape[:2]
            return f"data:{kind};base64,{base64.b64encode(content).decode()}", width, height
        pixels = decoded
    else:
        pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    height, width = pixels.shape[:2]
    if limit is not None and max(height, width) > limit:
        scale = limit / max(height, width)
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".png", pixels)
    return f"data:image/png;base64,{base64.b64encode(encoded.tobytes()).decode()}", width, height
