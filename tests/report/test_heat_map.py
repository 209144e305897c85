"""Heat maps."""

from __future__ import annotations

import math
import re

import numpy as np
from tests.report.conftest import Page, rendered

from massrl.report.heat_map import Matrix


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
