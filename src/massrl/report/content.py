"""What a page is made of: a title, a few facts, and sections of blocks.

A block is a chart, a table or a picture that renders itself. The page knows no kind of block, so a further
kind is one class with a method ``html``, and a further chart is one more block in a section.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

from massrl.report.style import NUM_COLOURS


class PageContext:
    """What the blocks of one page share: the colours of names, styles and scripts.

    Args:
        names: series that are told apart by colour, in the order of the colours.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        distinct = dict.fromkeys(names)
        self._colours = {name: number % NUM_COLOURS for number, name in enumerate(distinct)}
        self._styles: dict[str, None] = {}
        self._scripts: dict[str, None] = {}

    def colour(self, name: str) -> int:
        """Return the number of a series' colour, the same in all blocks of the page."""
        return self._colours.get(name, 0)

    def add_style(self, css: str) -> None:
        """Add style rules to the page, once however many blocks add them."""
        self._styles[css] = None

    def add_script(self, html: str) -> None:
        """Add a ``<script>`` element to the page, once however many blocks add it."""
        self._scripts[html] = None

    @property
    def styles(self) -> str:
        """All added style rules."""
        return "".join(self._styles)

    @property
    def scripts(self) -> str:
        """All added scripts."""
        return "".join(self._scripts)


class Block(ABC):
    """A part of a page."""

    def series_names(self) -> Sequence[str]:
        """Return the names that this block tells apart by colour."""
        return ()

    @abstractmethod
    def html(self, page: PageContext) -> str:
        """Return the block as HTML; every text in it is escaped.

        Args:
            page: colours of series, and where styles and scripts of the block go.

        Raises:
            DataError: if a picture of the block cannot be read.
        """


@dataclass(frozen=True, kw_only=True)
class Details(Block):
    """Preformatted text that is shown when its title is clicked.

    Attributes:
        title: of the text.
        text: the text.
    """

    title: str
    text: str

    def html(self, page: PageContext) -> str:
        """Return the text in a closed ``<details>`` element."""
        return (
            f'<details class="card"><summary><h2>{escape(self.title)}</h2></summary>'
            f"<pre>{escape(self.text)}</pre></details>"
        )


@dataclass(frozen=True)
class Section:
    """Blocks under a heading; a section without blocks is left out.

    Attributes:
        title: heading; none where empty, which continues the section before.
        blocks: in the order in which they are shown.
        columns: whether they are placed side by side where there is room.
    """

    title: str
    blocks: Sequence[Block]
    columns: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """Content of a page.

    Attributes:
        title: of the page.
        lead: one sentence with the main result.
        facts: label and value of the few most important numbers.
        sections: everything else.
        command: of massrl that the page is of, which it says.
    """

    title: str
    lead: str = ""
    facts: Sequence[tuple[str, str]] = ()
    sections: Sequence[Section] = ()
    command: str = "evaluate"


def finite_values(values: Iterable[float | None]) -> list[float]:
    """Return the values that are finite numbers."""
    return [value for value in values if value is not None and math.isfinite(value)]


def note_html(text: str) -> str:
    """Return a note below a block, nothing where the text is empty."""
    return f'<p class="note">{escape(text)}</p>' if text else ""
