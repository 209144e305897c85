"""Tables of text and numbers in HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from massrl.report.content import Block, PageContext, note_html
from massrl.report.pictures import scroll_box


@dataclass(frozen=True, kw_only=True)
class Table(Block):
    """Rows of text, shown as they are given.

    Attributes:
        title: of the table.
        header: names of the columns.
        rows: the cells; the first one names the row, a column of numbers is aligned to the right.
        note: one sentence under it.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def html(self, page: PageContext) -> str:
        """Return the table with its title."""
        width = max([len(self.header), *map(len, self.rows)])
        styles = [' class="number"' if self._is_numeric(column) else "" for column in range(width)]
        head = "".join(
            f'<th scope="col"{style}>{escape(name)}</th>'
            for name, style in zip(self.header, styles, strict=False)
        )
        rows = []
        for row in self.rows:
            first = "".join(f'<th scope="row">{escape(cell)}</th>' for cell in row[:1])
            others = "".join(
                f"<td{style}>{escape(cell)}</td>"
                for cell, style in zip(row[1:], styles[1:], strict=False)
            )
            rows.append(f"<tr>{first}{others}</tr>")
        return (
            f'<figure class="card"><figcaption><h3>{escape(self.title)}</h3></figcaption>'
            f"{scroll_box(self.title)}"
            f'<table class="plain"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
            f"</div>{note_html(self.note)}</figure>"
        )

    def _is_numeric(self, column: int) -> bool:
        cells = [row[column] for row in self.rows if column < len(row) and row[column]]
        return column > 0 and bool(cells) and all(map(_is_number, cells))


def _is_number(text: str) -> bool:
    return any(letter.isdigit() for letter in text) and text.strip()[:1] in set(
        "0123456789+-−.±<>≈~"
    )
