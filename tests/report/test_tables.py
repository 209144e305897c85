"""Bars, heat maps and tables: every number readable, bars to scale, shades in contrast."""

from __future__ import annotations

import math
import re

import numpy as np
from tests.report.conftest import HOSTILE, Page, assert_hostile_words_are_text, rendered

from massrl.report.tables import Bars, Matrix, Table


def test_bars_are_as_long_as_their_numbers() -> None:
    """Fails when a bar does not start at zero or is not to scale, chance line included."""
    bars = Bars(title="b", groups=["g"], series=[("a", [25.0]), ("b", [80.0])], chance=10.0)
    text = rendered(bars)
    assert re.findall(r'class="bar s\d" style="width:([\d.]+)%"', text) == ["25.00", "80.00"]
    assert re.findall(r'class="chance" style="left:([\d.]+)%"', text) == ["10.00", "10.00"]


def test_small_percentages_fill_the_chart_too() -> None:
    """Fails when accuracies of a few percent are drawn as bars that nobody can compare."""
    text = rendered(Bars(title="b", groups=["g"], series=[("a", [2.0]), ("b", [4.0])]))
    assert re.findall(r'class="bar s\d" style="width:([\d.]+)%"', text) == ["40.00", "80.00"]


def test_number_beside_a_short_bar_is_not_crossed_by_the_chance_line() -> None:
    """Fails when the line of chance runs through a number."""
    bars = Bars(title="b", groups=["g"], series=[("a", [5.0]), ("b", [80.0])], chance=10.0)
    places = re.findall(r'class="value" style="left:([\d.]+)%"', rendered(bars))
    assert places == ["10.00", "80.00"]


def test_percentage_that_was_not_measured_is_said_and_has_no_bar() -> None:
    """Fails when nothing measured looks like 0 percent."""
    bars = Bars(title="b", groups=["g", "h"], series=[("a", [None, math.nan]), ("b", [0.0, 50.0])])
    text = rendered(bars)
    assert Page(text).text.count("not measured") == 2
    assert text.count('class="bar ') == 2
    for words in ("0.0 %", "50.0 %"):
        assert words in Page(text).text


def test_matrix_of_one_view_has_a_blank_cell() -> None:
    """Fails when a run with a single view has a matrix that cannot be shaded."""
    for cell in (None, 0.5, math.nan):
        page = Page(rendered(Matrix(names=["a"], rows=[[cell]])))
        assert ("0.500" in page.text) == (cell == 0.5)


def test_matrix_shows_every_number_and_the_ends_of_its_scale() -> None:
    """Fails when a number that was given cannot be read on the page."""
    names = [f"policy({number})" for number in range(8)]
    rows = [[None if i == j else 0.1 + i + j / 100 for j in range(8)] for i in range(8)]
    text = Page(rendered(Matrix(names=names, rows=rows, note="a note"))).text
    assert all(name in text for name in (*names, "a note"))
    for i in range(8):
        for j in range(8):
            assert (f"{0.1 + i + j / 100:.3f}" in text) or i == j
    assert text.count("0.110") == 2  # its cell, and the low end of the scale


def test_matrix_numbers_stand_out_from_their_shade() -> None:
    """Fails when text and background of a cell are closer than 4.5 : 1 (WCAG AA)."""

    def luminance(colour: tuple[int, ...]) -> float:
        parts = [c / 255 for c in colour]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    rows = [[n / 100 for n in range(101)]] + [[None] * 101] * 100
    text = rendered(Matrix(names=[str(n) for n in range(101)], rows=rows))
    cells = re.findall(r"background:rgb\((\d+),(\d+),(\d+)\);color:(#\w+)", text)
    assert len(cells) == 101
    for *shade, ink in cells:
        one, other = luminance(tuple(map(int, shade))), {"#fff": 1.0, "#000": 0.0}[ink]
        assert (max(one, other) + 0.05) / (min(one, other) + 0.05) >= 4.5


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
