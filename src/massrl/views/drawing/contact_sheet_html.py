"""The contact sheet as a self-contained HTML page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import cv2
import numpy as np

from massrl.errors import ConfigError
from massrl.images.pictures import Pixels
from massrl.views.drawing.sheet_rows import SheetRow, sheet_colours
from massrl.views.plan import ViewPlan

_LARGEST = 480  # pixels; a photograph is shown no larger

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --muted: #6b7280; --line: #d5d9df; --page: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --muted: #9aa3af; --line: #3a404a; --page: #15181d; }
}
body { margin: 0 auto; padding: 24px; max-width: 1800px; background: var(--page); color: var(--ink);
  font: 14px/1.45 system-ui, sans-serif; }
h1 { font-size: 20px; margin: 0 0 4px; }
.lead, .size, dt { color: var(--muted); }
.row { display: flex; flex-wrap: wrap; gap: 16px; padding: 20px 0; border-top: 1px solid var(--line); }
figure { margin: 0; }
.whole { flex: 0 0 240px; max-width: 100%; overflow-wrap: anywhere; }
.whole svg { display: block; width: 100%; height: auto; border-radius: 4px; }
.views { flex: 1 1 480px; display: grid; gap: 16px;
  grid-template-columns:
    repeat(auto-fill, minmax(max(140px, calc((100% - 16px * (var(--n) - 1)) / var(--n))), 1fr)); }
.views figure { max-width: 240px; }
.views img { display: block; width: 100%; aspect-ratio: 1; border-radius: 4px; }
.small img { image-rendering: pixelated; }
.policy { font-weight: 600; margin: 6px 0 2px; overflow-wrap: break-word; }
.policy b { color: #fff; border-radius: 3px; padding: 0 5px; margin-right: 6px; font-size: 12px; }
dl { display: grid; grid-template-columns: auto 1fr; column-gap: 8px; margin: 0; }
dd { margin: 0; }
"""


def sheet_page(rows: Sequence[SheetRow], *, title: str, lead: str = "") -> str:
    """Return a page with a row for each image: the image with its crops, then its views.

    Args:
        rows: the images, top to bottom.
        title: heading.
        lead: a line under it.

    Raises:
        ConfigError: if there is nothing to show.
    """
    if not rows:
        raise ConfigError("a sheet needs at least one image, but there are 0")
    colours = sheet_colours(rows)
    body = "".join(_row(row, *colours) for row in rows)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="generator" content="massrl views">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
        f'<h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>{body}</body></html>\n'
    )


def _row(row: SheetRow, by_policy: dict[str, str], by_crop: dict[int, str]) -> str:
    height, width = row.image.shape[:2]
    views = "".join(
        _view(view, pixels, by_policy[view.policy], by_crop[view.crop])
        for view, pixels in zip(row.plan.views, row.views, strict=True)
    )
    small = " small" if row.plan.side < 96 else ""
    count = len(row.plan.views)
    columns = count if count <= 6 else -(-count // 2)  # of two crops, each has a line
    return (
        f'<section class="row"><figure class="whole">{_whole(row, by_crop)}<figcaption>'
        f'{escape(row.title)} <span class="size">{width} × {height} px, image {row.plan.index}, epoch '
        f'{row.plan.epoch}</span></figcaption></figure><div class="views{small}" style="--n:{columns}">'
        f"{views}</div></section>"
    )


def _whole(row: SheetRow, by_crop: dict[int, str]) -> str:
    """Return the image with a frame for every crop, the largest undermost."""
    height, width = row.image.shape[:2]
    boxes = {view.crop: view.box for view in row.plan.views}
    stroke = max(height, width) / 120
    frames = []
    for crop in sorted(boxes, key=lambda crop: -boxes[crop].height * boxes[crop].width):
        box, mark = boxes[crop], 6 * stroke
        frames.append(
            f'<g><rect x="{box.left}" y="{box.top}" width="{box.width}" height="{box.height}" fill="none" '
            f'stroke="#fff" stroke-width="{2 * stroke:.2f}"/><rect x="{box.left}" y="{box.top}" '
            f'width="{box.width}" height="{box.height}" fill="none" stroke="{by_crop[crop]}" '
            f'stroke-width="{stroke:.2f}"/><rect x="{box.left}" y="{box.top}" width="{mark:.2f}" '
            f'height="{mark:.2f}" fill="{by_crop[crop]}"/><text x="{box.left + mark / 2:.2f}" '
            f'y="{box.top + mark * 0.72:.2f}" font-size="{mark * 0.66:.2f}" font-weight="700" fill="#fff" '
            f'text-anchor="middle">{crop + 1}</text></g>'
        )
    shown = row.image
    if max(height, width) > _LARGEST:
        scale = _LARGEST / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        shown = np.asarray(cv2.resize(shown, size, interpolation=cv2.INTER_AREA), np.uint8)
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(row.title)} and its crops">'
        f'<image href="{_data(shown)}" width="{width}" height="{height}"/>{"".join(frames)}</svg>'
    )


def _view(view: ViewPlan, pixels: Pixels, policy_colour: str, crop_colour: str) -> str:
    lines = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(' '.join(amount))}</dd>"
        for name, *amount in view.words()
    )
    return (
        f'<figure><img src="{_data(pixels)}" alt="{escape(str(view))}"><figcaption><p class="policy" '
        f'style="color:{policy_colour}"><b style="background:{crop_colour}">{view.crop + 1}</b>'
        f"{escape(view.policy).replace('(', '<wbr>(')}</p><dl>{lines}</dl></figcaption></figure>"
    )


def _data(pixels: Pixels) -> str:
    _, encoded = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return f"data:image/png;base64,{base64.b64encode(encoded.tobytes()).decode()}"
