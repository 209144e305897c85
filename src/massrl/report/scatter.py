"""Maps of points, each of which shows its image when it is pointed at."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from massrl.errors import DataError
from massrl.report.content import Scatter

_SIDE, _RADIUS, _MARGIN = 1000, 9, 12

# One for the page: whichever point is under the pointer, or has the focus, shows its thumbnail.
SCRIPT = """<script>
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


def sheets_style(maps: Sequence[Scatter]) -> str:
    """The thumbnails, each sheet once however many maps show it."""
    rules = []
    for number, sheet in enumerate(dict.fromkeys(item.sheet for item in maps)):
        try:
            data = base64.b64encode(sheet.read_bytes()).decode()
        except OSError as error:
            raise DataError(f"cannot read {sheet}: {error.strerror or error}") from None
        rules.append(f".sheet{number}{{background-image:url(data:image/jpeg;base64,{data})}}")
    return "".join(rules)


def scatter(content: Scatter, maps: Sequence[Scatter]) -> str:
    """One map as an HTML figure.

    Args:
        content: what it shows.
        maps: all maps of the page, which say which sheet is whose.
    """
    sheets = list(dict.fromkeys(item.sheet for item in maps))
    points = "".join(
        f'<circle data-i="{number}" cx="{_place(x)}" cy="{_place(1 - y)}" r="{_RADIUS}" '
        f'fill="{_colour(group, len(content.names))}" '
        f'aria-label="{escape(content.names[group] + ", " + text, quote=True)}"/>'
        for number, ((x, y), group, text) in enumerate(
            zip(content.points, content.groups, content.texts, strict=True)
        )
    )
    used = sorted(set(content.groups))
    legend = "".join(
        f'<li><i style="background:{_colour(group, len(content.names))}"></i>'
        f"{escape(content.names[group])}</li>"
        for group in used
    )
    says = f"{content.title}: {len(content.points)} images of {len(used)} classes"
    return (
        f'<figure class="card map" data-sheet="sheet{sheets.index(content.sheet)}" '
        f'data-thumb="{content.thumb}" data-row="{content.per_row}">'
        f"<figcaption><h3>{escape(content.title)}</h3></figcaption>"
        f'<svg role="img" aria-label="{escape(says, quote=True)}" '
        f'viewBox="{_frame(content)}">{points}</svg>'
        f'<ul class="legend dots">{legend}</ul></figure>'
    )


def _frame(content: Scatter) -> str:
    """Where the points lie, so that a flat map leaves no empty space above and below."""
    highest, lowest = (pick(1 - y for _, y in content.points) * _SIDE for pick in (min, max))
    height = lowest - highest + 2 * _MARGIN
    return f"{-_MARGIN} {highest - _MARGIN:.0f} {_SIDE + 2 * _MARGIN} {height:.0f}"


def _place(share: float) -> str:
    return f"{share * _SIDE:.1f}".removesuffix(".0")


def _colour(group: int, count: int) -> str:
    """Hues evenly around the circle, their lightness in turn, so that neighbours differ in both."""
    hue = 360 * group / max(1, count)
    return f"hsl({hue:.0f} 65% {(45, 60, 35)[group % 3]}%)"
