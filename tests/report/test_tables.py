"""Tables of text and numbers."""

from __future__ import annotations

import re

from tests.report.conftest import HOSTILE, Page, assert_hostile_words_are_text, rendered

from massrl.report.bar_chart import Bars
from massrl.report.heat_map import Matrix
from massrl.report.tables import Table


def test_table_aligns_columns_of_numbers_to_the_right() -> None:
    """Fails when numbers cannot be compared down a column, or words stand to the right."""
    table = Table(
        title="t",
        header=["class", "k-NN", "remark"],
        rows=[["1", "17.25 %", "2 images"], ["dog", "", "−"], ["cat", "≈ 9", "none"]],
    )
    text = rendered(table)
    assert re.findall(r"<th scope=\"col\"([^>]*)>", text) == ["", ' class="number"', ""]
    assert '<td class="number">17.25 %</td>' in text
    assert "<td>2 images</td>" in text


def test_rows_shorter_than_the_header_are_shown_as_they_are() -> None:
    """Fails when a row without its last cells breaks the table."""
    text = rendered(Table(title="t", header=["a", "b"], rows=[["x"], [], ["y", "1", "2"]]))
    assert re.findall(r"<t[hd][^>]*>(\w)<", text) == ["a", "b", "x", "y", "1", "2"]
    Page(text)


def test_hostile_words_stay_text() -> None:
    """Fails where a word from a file name or a configuration becomes a tag or an attribute."""
    word = [HOSTILE]
    bars = Bars(title=HOSTILE, groups=word, series=[(HOSTILE, [1.0])], note=HOSTILE)
    assert_hostile_words_are_text(bars, times=4)
    matrix = Matrix(title=HOSTILE, names=word, rows=[[1.0]], note=HOSTILE)
    assert_hostile_words_are_text(matrix, times=3)
    table = Table(title=HOSTILE, header=word * 2, rows=[word * 2], note=HOSTILE)
    assert_hostile_words_are_text(table, times=6)
