"""Scatter plots of images, each of which is shown when its point is hovered or tapped."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from massrl.errors import counted
from massrl.report.content import Block, PageContext
from massrl.report.pictures import picture_file

_SIDE, _RADIUS, _MARGIN = 1000, 9, 12

# Shows the thumbnail of the point under the pointer; one script serves all plots of a page.
_SCRIPT = """<script>
(function () {
  var tip = document.createElement('div');
  tip.className = 'tip'; tip.hidden = true; document.body.appendChild(tip);
  function show(event) {
    var point = event.target.closest && event.target.closest('circle[data-i]');
    if (!point) { tip.hidden = true; return; }
    var map = point.closest('figure'), size = +map.dataset.thumb, row = +map.dataset.row;
    var i = +point.dataset.i, image = tip.firstChild || tip.appendChild(document.createElement('i'));
    image.className = map.dataset.sheet;
    image.style.width = image.style.height = size + 'px';
    image.style.backgroundPosition = -(i % row) * size + 'px ' + -Math.floor(i / row) * size + 'px';
    while (tip.childNodes.length > 1) { tip.removeChild(tip.lastChild); }
    tip.appendChild(document.createTextNode(point.getAttribute('aria-label')));
    tip.hidden = false;
    var box = point.getBoundingClientRect(), left = box.left + window.scrollX + 14;
    left = Math.min(left, window.scrollX + document.documentElement.clientWidth - tip.offsetWidth - 8);
    tip.style.left = left + 'px'; tip.style.top = box.top + window.scrollY + 14 + 'px';
  }
  document.addEventListener('pointerover', show);
  document.addEventListener('click', show);
})();
</script>"""


@dataclass(frozen=True, kw_only=True)
class Scatter(Block):
    """Images as points of a map.

    Attributes:
        title: of the map.
        points: x and y, in [0, 1].
        groups: class of each point, from 0.
        names: of the classes.
        texts: name of each point's image.
        sheet: JPEG file of the images' thumbnails, row by row in the order of the points.
        thumb: side of a thumbnail, pixels.
        per_row: thumbnails in a row of the sheet.
    """

    title: str
    points: Sequence[tuple[float, ...]]
    groups: Sequence[int]
    names: Sequence[str]
    texts: Sequence[str]
    sheet: Path
    thumb: int
    per_row: int

    def html(self, page: PageContext) -> str:
        """Return the map as a figure; plots of one page that share a sheet embed it once."""
        sheet = self._embed_sheet(page)
        page.add_script(_SCRIPT)
        points = "".join(
            f'<circle data-i="{number}" cx="{_place(x)}" cy="{_place(1 - y)}" r="{_RADIUS}" '
            f'fill="{_colour(group, len(self.names))}" '
            f'aria-label="{escape(self.names[group] + ", " + text, quote=True)}"/>'
            for number, ((x, y), group, text) in enumerate(
                zip(self.points, self.groups, self.texts, strict=True)
            )
        )
        used = sorted(set(self.groups))
        legend = "".join(
            f'<li><i style="background:{_colour(group, len(self.names))}"></i>'
            f"{escape(self.names[group])}</li>"
            for group in used
        )
        label = (
            f"{self.title}: {counted(len(self.points), 'image')} of {counted(len(used), 'class')}"
        )
        return (
            f'<figure class="card map" data-sheet="{sheet}" '
            f'data-thumb="{self.thumb}" data-row="{self.per_row}">'
            f"<figcaption><h3>{escape(self.title)}</h3></figcaption>"
            f'<svg role="img" aria-label="{escape(label, quote=True)}" '
            f'viewBox="{_view_box(self.points)}">{points}</svg>'
            f'<ul class="legend dots">{legend}</ul></figure>'
        )

    def _embed_sheet(self, page: PageContext) -> str:
        """Add the thumbnails to the page's style; return the class that shows them."""
        url, _ = picture_file(self.sheet)
        name = f"sheet-{hashlib.blake2b(url.encode(), digest_size=6).hexdigest()}"
        page.add_style(f".{name}{{background-image:url({url})}}")
        return name


def _view_box(points: Sequence[tuple[float, ...]]) -> str:
    """Return a view box that ends where the points end, so that a flat map leaves no empty space."""
    highest, lowest = (pick(1 - y for _, y in points) * _SIDE for pick in (min, max))
    height = lowest - highest + 2 * _MARGIN
    return f"{-_MARGIN} {highest - _MARGIN:.0f} {_SIDE + 2 * _MARGIN} {height:.0f}"


def _place(fraction: float) -> str:
    return f"{fraction * _SIDE:.1f}".removesuffix(".0")


def _colour(group: int, count: int) -> str:
    """Return one of ``count`` hues; neighbours differ in lightness too."""
    hue = 360 * group / max(1, count)
    return f"hsl({hue:.0f} 65% {(45, 60, 35)[group % 3]}%)"
