"""Line charts: to scale, unbroken by odd values, smoothed without lag."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from tests.report.conftest import HOSTILE, Page, assert_hostile_words_are_text, rendered

from massrl.report.line_chart import Curve, nice_ticks, smoothed, tick_texts


def path_numbers(text: str) -> list[float]:
    """Return all coordinates of all paths; a word among them would be NaN or infinity."""
    numbers = []
    for path in re.findall(r' d="([^"]*)"', text):
        assert re.fullmatch(r"[MLH0-9. \-]*", path), path
        numbers += [float(number) for number in re.findall(r"-?[0-9.]+", path)]
    return numbers


SERIES: dict[str, tuple[list[float], list[float]]] = {
    "empty": ([], []),
    "nothing but NaN": ([1, 2], [math.nan, math.nan]),
    "one point": ([5], [71.0]),
    "one value": ([1, 2, 3], [0.0, 0.0, 0.0]),
    "a gap": ([1, 2, 3, 4], [1.0, math.nan, 3.0, math.inf]),
    "NaN steps": ([1, math.nan, 3], [1.0, 2.0, 3.0]),
    "tiny": ([0, 1], [1e-9, 2e-9]),
    "huge": ([0, 1e9], [-1e12, 1e12]),
    "long": (list(range(5000)), [math.nan if n % 7 == 0 else math.sin(n) for n in range(5000)]),
}


@pytest.mark.parametrize("name", list(SERIES))
@pytest.mark.parametrize("smooth", [True, False])
def test_chart_of_any_values_is_finite_and_small(name: str, smooth: bool) -> None:
    """Fails when a NaN, a single point or an empty series breaks a chart."""
    xs, ys = SERIES[name]
    text = rendered(Curve(title="c", y_label="y", series=[(name, xs, ys)], smooth=smooth))
    page = Page(text)
    assert all(math.isfinite(number) for number in path_numbers(text))
    assert ("No values." in page.text) == (not np.isfinite(ys).any())
    assert len(text) < 60_000


def test_line_runs_through_its_points() -> None:
    """Fails when axes are exchanged, upside down or not to scale."""
    text = rendered(Curve(title="c", y_label="y", series=[("a", [0, 5, 10], [0, 100, 50])]))
    path = re.findall(r'class="line s0" d="([^"]*)"', text)[0]
    points = [[float(number) for number in pair.split()] for pair in re.split("[ML]", path)[1:]]
    assert [x for x, _ in points] == [0, 500, 1000]
    heights = [y for _, y in points]
    assert heights[1] < heights[2] < heights[0]
    assert math.isclose(heights[2], (heights[0] + heights[1]) / 2, abs_tol=0.11)


def test_gap_in_a_line_is_not_bridged() -> None:
    """Fails when a line is drawn across values that are not there."""
    text = rendered(
        Curve(title="c", y_label="y", series=[("a", [0, 1, 2, 3], [1, math.nan, 2, 3])])
    )
    path = re.findall(r'class="line s0" d="([^"]*)"', text)[0]
    assert re.sub("[^ML]", "", path) == "MML"


def test_long_series_is_drawn_raw_and_smoothed_a_short_one_with_dots() -> None:
    """Fails when noise hides the course of a long series, or single points of a short one are lost."""
    long = rendered(Curve(title="c", y_label="y", series=[("a", range(100), range(100))]))
    assert long.count('class="raw s0"') == 1
    assert 'class="dot' not in long
    short = rendered(Curve(title="c", y_label="y", series=[("a", range(10), range(10))]))
    assert short.count('class="dot s0"') == 1
    assert 'class="raw' not in short


def test_legend_and_alternative_text_have_first_and_last_values() -> None:
    """Fails when a chart cannot be read without seeing it."""
    series = [("a", [0, 9], [10, 61.25]), ("b", [0], [7.5]), ("c", [0], [math.nan])]
    text = rendered(Curve(title="k-NN", y_label="%", series=series))
    label = "k-NN, % over optimiser step: a from 10 to 61.25; b from 7.5 to 7.5"
    assert f'role="img" aria-label="{label}"' in text
    for words in ("a 61.25", "b 7.5", "c no values"):
        assert words in Page(text).text


def test_hostile_words_stay_text() -> None:
    """Fails where a name from a configuration becomes a tag or an attribute."""
    curve = Curve(
        title=HOSTILE, y_label=HOSTILE, x_label=HOSTILE, series=[(HOSTILE, [1, 2], [1, 2])]
    )
    assert_hostile_words_are_text(curve, times=4)
    assert_hostile_words_are_text(Curve(title=HOSTILE, y_label=HOSTILE, series=[]), times=2)


def test_single_line_has_the_first_colour_and_several_one_each() -> None:
    """Fails when lines of one chart cannot be told apart."""
    one = Curve(title="c", y_label="y", series=[("a", [0, 1], [0, 1])])
    assert one.series_names() == []
    two = Curve(title="c", y_label="y", series=[("a", [0, 1], [0, 1]), ("b", [0, 1], [1, 0])])
    assert re.findall(r'class="line s(\d)"', rendered(two)) == ["0", "1"]


def test_smoothing_follows_a_straight_start_and_removes_noise() -> None:
    """Fails when the smoothed line lags behind, or is pulled about by missing values."""
    noise = np.random.default_rng(0).normal(0, 1, 600)
    ramp = np.arange(600.0)
    assert np.abs(smoothed(ramp)[:500] - ramp[:500]).max() < 1e-9
    assert smoothed(noise).std() < 0.4
    ramp[100:110] = np.nan
    result = smoothed(ramp)
    assert np.isnan(result[100:110]).all()
    assert np.isfinite(np.delete(result, range(100, 110))).all()


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 100, ["0", "20", "40", "60", "80", "100"]),
        (0.3, 0.52, ["0.30", "0.35", "0.40", "0.45", "0.50"]),
        (-1, 1, ["−1.0", "−0.5", "0", "0.5", "1.0"]),
        (0, 12000, ["0", "5k", "10k"]),
        (0, 5e-4, ["0", "0.0001", "0.0002", "0.0003", "0.0004", "0.0005"]),
        (0, 3e6, ["0", "1M", "2M", "3M"]),
    ],
)
def test_ticks_are_round_and_told_apart(low: float, high: float, expected: list[str]) -> None:
    """Fails when two ticks read the same or have digits without meaning."""
    assert tick_texts(nice_ticks(low, high, count=5)) == expected
