"""Bar charts."""

from __future__ import annotations

import math
import re

from tests.report.conftest import Page, rendered

from massrl.report.bar_chart import Bars


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
