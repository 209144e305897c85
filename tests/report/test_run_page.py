"""The page of a run: whole, self-contained, safe, and with every number on it."""

from __future__ import annotations

import base64
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from massrl.errors import DataError
from massrl.report.charts import nice_ticks, smoothed, tick_texts
from massrl.report.content import Bars, Curve, Gallery, Matrix, Picture, ReportContent, Table
from massrl.report.page import render_report, write_report

VOID = {"meta", "img", "br", "hr", "link", "input"}
HOSTILE = "<script>alert('x')</script> \" onload=\"y & <b>"


class Page(HTMLParser):
    """Reads a page strictly: every tag must be closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a tag, unless it never holds anything."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag that closes itself."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost tag."""
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """What a person reads."""
        if "style" not in self.open:
            self.text += data


def picture(value: int = 0, **words: str) -> Picture:
    return Picture(image=np.full((8, 12, 3), value, np.uint8), **words)


def full_content(**changes: Any) -> ReportContent:
    names = [f"fast-autoaugment(imagenet) · crop {number}" for number in range(1, 9)]
    rows = [[None if i == j else 0.1 + i + j / 100 for j in range(8)] for i in range(8)]
    content: dict[str, Any] = {
        "title": "a run",
        "lead": "It reached 81.3 %.",
        "facts": [("k-NN", "81.3 %"), ("speed", "2412 images/s")],
        "config_text": "data:\n  batch_size: 256\n",
        "curves": [
            Curve(title="Loss", y_label="loss", series=[("loss", range(500), [3.5] * 500)]),
            Curve(
                title="k-NN", y_label="%", series=[("a", [0, 9], [10, 61.25]), ("b", [0], [7.5])]
            ),
        ],
        "matrix": Matrix(names=names, rows=rows, note="a note"),
        "tables": [
            Table(title="t", header=["class", "k-NN"], rows=[["cat", "17.25"], ["dog", ""]])
        ],
        "bars": [
            Bars(
                title="accuracy",
                groups=["k-NN", "linear"],
                series=[("untrained", [32.9, 41.7]), ("MASSRL", [81.3, None])],
                chance=10.0,
            )
        ],
        "images": [picture(9, caption="a sheet")],
        "galleries": [
            Gallery(
                title="near",
                rows=[
                    (
                        picture(1, caption="cat"),
                        [(picture(2, caption="dog"), False), (picture(3), True)],
                    )
                ],
            )
        ],
    }
    return ReportContent(**(content | changes))


def path_numbers(text: str) -> list[float]:
    """All coordinates of all paths; a word among them would be NaN or infinity."""
    numbers = []
    for path in re.findall(r' d="([^"]*)"', text):
        assert re.fullmatch(r"[MLH0-9. \-]*", path), path
        numbers += [float(number) for number in re.findall(r"-?[0-9.]+", path)]
    return numbers


def test_page_closes_every_tag() -> None:
    """Fails when a part of the page is not well formed."""
    page = Page(render_report(full_content()))
    assert [tag for tag, _ in page.tags].count("h1") == 1
    assert {"svg", "table", "img", "details"} <= {tag for tag, _ in page.tags}


def test_page_shows_every_number() -> None:
    """Fails when a number that was given cannot be read on the page."""
    text = Page(render_report(full_content())).text
    for number in ("81.3 %", "2412 images/s", "batch_size: 256", "17.25", "10.0 %"):
        assert number in text
    for number in ("32.9 %", "41.7 %", "not measured", "61.25", "7.5", "3.5"):
        assert number in text
    for i in range(8):
        for j in range(8):
            assert (f"{0.1 + i + j / 100:.3f}" in text) or i == j
    assert all(f"fast-autoaugment(imagenet) · crop {number}" in text for number in range(1, 9))


def test_page_refers_to_nothing_outside() -> None:
    """Fails when the page needs a network or a file beside it."""
    text = render_report(full_content())
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<link|<script", text)
    for tag, attributes in Page(text).tags:
        assert "href" not in attributes
        if tag == "img":
            assert str(attributes["src"]).startswith("data:image/png;base64,")


def test_hostile_words_stay_words() -> None:
    """Fails where a word from a file name or a configuration becomes a tag or an attribute."""
    row = (picture(caption=HOSTILE, alt=HOSTILE), [(picture(caption=HOSTILE), True)])
    content = full_content(
        title=HOSTILE,
        lead=HOSTILE,
        facts=[(HOSTILE, HOSTILE)],
        config_text=HOSTILE,
        curves=[
            Curve(
                title=HOSTILE, y_label=HOSTILE, x_label=HOSTILE, series=[(HOSTILE, [1, 2], [1, 2])]
            ),
            Curve(title=HOSTILE, y_label=HOSTILE, series=[]),
        ],
        matrix=Matrix(title=HOSTILE, names=[HOSTILE], rows=[[1.0]], note=HOSTILE),
        tables=[Table(title=HOSTILE, header=[HOSTILE] * 2, rows=[[HOSTILE] * 2], note=HOSTILE)],
        bars=[Bars(title=HOSTILE, groups=[HOSTILE], series=[(HOSTILE, [1.0])], note=HOSTILE)],
        images=[picture(caption=HOSTILE), picture(caption=HOSTILE, alt=HOSTILE)],
        galleries=[Gallery(title=HOSTILE, rows=[row], note=HOSTILE)],
    )
    page = Page(render_report(content))
    tags = {tag for tag, _ in page.tags}
    assert "script" not in tags
    assert not any("onload" in attributes for _, attributes in page.tags)
    assert page.text.count(HOSTILE) >= 25


def test_pictures_and_charts_have_words() -> None:
    """Fails when a picture has no alternative text or a chart no label."""
    for tag, attributes in Page(render_report(full_content())).tags:
        if tag == "img":
            assert attributes["alt"]
        if tag == "svg":
            assert attributes["role"] == "img"
            assert attributes["aria-label"]
    labels = re.findall(r'<svg role="img" aria-label="([^"]*)"', render_report(full_content()))
    assert labels[1] == "k-NN, % over optimiser step: a from 10 to 61.25; b from 7.5 to 7.5"


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
def test_curves_are_finite_whatever_they_show(name: str, smooth: bool) -> None:
    """Fails when a NaN, a single point or an empty series breaks a chart."""
    xs, ys = SERIES[name]
    curve = Curve(title="c", y_label="y", series=[(name, xs, ys)], smooth=smooth)
    text = render_report(ReportContent(title="t", curves=[curve]))
    page = Page(text)
    assert all(math.isfinite(number) for number in path_numbers(text))
    assert ("No values." in page.text) == (not np.isfinite(ys).any())
    assert len(text) < 60_000


def test_line_runs_through_its_points() -> None:
    """Fails when axes are exchanged, upside down or not to scale."""
    curve = Curve(title="c", y_label="y", series=[("a", [0, 5, 10], [0, 100, 50])])
    text = render_report(ReportContent(title="t", curves=[curve]))
    path = re.findall(r'class="line s0" d="([^"]*)"', text)[0]
    points = [[float(number) for number in pair.split()] for pair in re.split("[ML]", path)[1:]]
    assert [x for x, _ in points] == [0, 500, 1000]
    heights = [y for _, y in points]
    assert heights[1] < heights[2] < heights[0]
    assert math.isclose(heights[2], (heights[0] + heights[1]) / 2, abs_tol=0.11)


def test_gap_in_a_line_is_not_bridged() -> None:
    """Fails when a line is drawn across values that are not there."""
    curve = Curve(title="c", y_label="y", series=[("a", [0, 1, 2, 3], [1, math.nan, 2, 3])])
    text = render_report(ReportContent(title="t", curves=[curve]))
    path = re.findall(r'class="line s0" d="([^"]*)"', text)[0]
    assert re.sub("[^ML]", "", path) == "MML"


def test_smoothing_keeps_a_straight_start_and_forgets_noise() -> None:
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
    """Fails when two ticks read the same or carry digits that say nothing."""
    assert tick_texts(nice_ticks(low, high, 5)) == expected


def test_bars_are_as_long_as_their_numbers() -> None:
    """Fails when a bar does not start at zero or is not to scale, chance line included."""
    bars = Bars(title="b", groups=["g"], series=[("a", [25.0]), ("b", [80.0])], chance=10.0)
    text = render_report(ReportContent(title="t", bars=[bars]))
    assert re.findall(r'class="bar s\d" style="width:([\d.]+)%"', text) == ["25.00", "80.00"]
    assert re.findall(r'class="chance" style="left:([\d.]+)%"', text) == ["10.00", "10.00"]


def test_series_keeps_its_colour_across_charts() -> None:
    """Fails when the same name has two colours on one page."""
    bars = Bars(title="b", groups=["g"], series=[("x", [1.0]), ("y", [2.0])])
    curve = Curve(title="c", y_label="y", series=[("y", [0, 1], [0, 1]), ("z", [0, 1], [1, 0])])
    text = render_report(ReportContent(title="t", bars=[bars], curves=[curve]))
    assert re.findall(r'class="bar s(\d)"', text) == ["0", "1"]
    assert re.findall(r'class="line s(\d)"', text) == ["1", "2"]


def test_matrix_of_one_view_has_a_blank_cell() -> None:
    """Fails when a run with a single view has a matrix that cannot be shaded."""
    for cell in (None, 0.5, math.nan):
        page = Page(
            render_report(ReportContent(title="t", matrix=Matrix(names=["a"], rows=[[cell]])))
        )
        assert ("0.500" in page.text) == (cell == 0.5)


def test_matrix_numbers_stand_out_from_their_shade() -> None:
    """Fails when text and background of a cell are closer than 4.5 : 1 (WCAG AA)."""

    def luminance(colour: tuple[int, ...]) -> float:
        parts = [c / 255 for c in colour]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    rows = [[n / 100 for n in range(101)]] + [[None] * 101] * 100
    matrix = Matrix(names=[str(n) for n in range(101)], rows=rows)
    text = render_report(ReportContent(title="t", matrix=matrix))
    cells = re.findall(r"background:rgb\((\d+),(\d+),(\d+)\);color:(#\w+)", text)
    assert len(cells) == 101
    for *shade, ink in cells:
        one, other = luminance(tuple(map(int, shade))), {"#fff": 1.0, "#000": 0.0}[ink]
        assert (max(one, other) + 0.05) / (min(one, other) + 0.05) >= 4.5


def test_pictures_come_back_as_they_went_in(tmp_path: Path) -> None:
    """Fails when colours are exchanged, a file is recoded, or a thumbnail is too large."""
    pixels = np.random.default_rng(0).integers(0, 255, (300, 400, 3)).astype(np.uint8)
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), pixels)
    images = [Picture(image=pixels, caption="array"), Picture(image=path, caption="file")]
    gallery = Gallery(title="g", rows=[(Picture(image=path), [(Picture(image=pixels), None)])])
    text = render_report(ReportContent(title="t", images=images, galleries=[gallery]))
    sources = [str(attributes["src"]) for tag, attributes in Page(text).tags if tag == "img"]
    contents = [base64.b64decode(source.partition(",")[2]) for source in sources]
    decoded = [cv2.imdecode(np.frombuffer(c, np.uint8), cv2.IMREAD_COLOR_RGB) for c in contents]
    np.testing.assert_array_equal(decoded[0], pixels)
    assert contents[1] == path.read_bytes()
    assert sources[1].startswith("data:image/jpeg;")
    thumbnails = [image.shape for image in decoded[2:] if image is not None]
    assert thumbnails == [(120, 160, 3), (120, 160, 3)]


def test_picture_that_is_none_is_named(tmp_path: Path) -> None:
    """Fails when a missing or broken picture ends in another error than the one to mend."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG and no more")
    for path, reason in ((tmp_path / "gone.png", "cannot read"), (broken, "no picture")):
        with pytest.raises(DataError, match=reason):
            render_report(ReportContent(title="t", images=[Picture(image=path)]))


def test_report_file_is_the_page(tmp_path: Path) -> None:
    """Fails when the file is not where a run folder has it, or not UTF-8."""
    content = full_content(title="τ × 8 · 速い")
    path = write_report(tmp_path, content)
    assert path == tmp_path / "report.html"
    assert path.read_text(encoding="utf-8") == render_report(content)


def test_report_of_nothing_has_a_title_alone() -> None:
    """Fails when an empty part leaves its heading behind."""
    page = Page(render_report(ReportContent(title="only")))
    assert not {"h2", "figure", "dl"} & {tag for tag, _ in page.tags}
