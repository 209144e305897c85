"""The page: whole, self-contained, safe."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.report.conftest import HOSTILE, Page, picture

from massrl.report.bar_chart import Bars
from massrl.report.content import Details, ReportContent, Section
from massrl.report.heat_map import Matrix
from massrl.report.line_chart import Curve
from massrl.report.page import render_report, write_report
from massrl.report.pictures import Gallery
from massrl.report.tables import Table


def full_content(**changes: Any) -> ReportContent:
    """A page with a block of every kind that needs no file."""
    row = (picture(1, caption="cat"), [(picture(2, caption="dog"), False), (picture(3), True)])
    content: dict[str, Any] = {
        "title": "a run",
        "lead": "It reached 81.3 %.",
        "facts": [("k-NN", "81.3 %"), ("speed", "2412 images/s")],
        "sections": [
            Section(
                "Results",
                [
                    Bars(title="accuracy", groups=["k-NN"], series=[("MASSRL", [81.3])]),
                    Table(title="t", header=["class", "k-NN"], rows=[["cat", "17.25"]]),
                ],
            ),
            Section(
                "Training",
                [Curve(title="Loss", y_label="loss", series=[("loss", range(500), [3.5] * 500)])],
                columns=True,
            ),
            Section(
                "Pictures",
                [picture(9, caption="a sheet"), Matrix(names=["a"], rows=[[0.5]], note="a note")],
            ),
            Section("Nearest neighbours", [Gallery(title="near", rows=[row])]),
            Section("", [Details(title="Configuration", text="batch_size: 256\n")]),
        ],
    }
    return ReportContent(**(content | changes))


def test_page_closes_every_tag() -> None:
    """Fails when a part of the page is not well formed."""
    page = Page(render_report(full_content()))
    assert [tag for tag, _ in page.tags].count("h1") == 1
    assert {"svg", "table", "img", "details"} <= {tag for tag, _ in page.tags}


def test_page_shows_title_lead_facts_and_sections_in_order() -> None:
    """Fails when something that was given cannot be read, or is in another place."""
    text = Page(render_report(full_content())).text
    words = [
        *("a run", "It reached 81.3 %.", "k-NN", "81.3 %", "speed", "2412 images/s"),
        *("Results", "accuracy", "17.25", "Training", "Loss", "Pictures", "a sheet", "a note"),
        *("Nearest neighbours", "near", "Configuration", "batch_size: 256"),
    ]
    places, begin = [], 0
    for word in words:
        begin = text.index(word, begin)
        places.append(begin)
    assert places == sorted(places)


def test_page_refers_to_nothing_outside() -> None:
    """Fails when the page needs a network or a file beside it."""
    text = render_report(full_content())
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<link|<script", text)
    for tag, attributes in Page(text).tags:
        assert "href" not in attributes
        if tag == "img":
            assert str(attributes["src"]).startswith("data:image/png;base64,")


def test_hostile_words_of_the_page_itself_stay_text() -> None:
    """Fails where a run's folder or a configuration becomes a tag."""
    content = ReportContent(
        title=HOSTILE,
        lead=HOSTILE,
        facts=[(HOSTILE, HOSTILE)],
        sections=[Section(HOSTILE, [picture()])],
    )
    page = Page(render_report(content))
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count(HOSTILE) == 6  # the title twice: in the window's bar and on the page


def test_section_without_blocks_leaves_no_heading() -> None:
    """Fails when an empty part leaves its heading behind."""
    content = ReportContent(title="only", sections=[Section("Results", []), Section("", [])])
    assert not {"h2", "section", "figure", "dl"} & {
        tag for tag, _ in Page(render_report(content)).tags
    }


def test_report_file_is_the_page(tmp_path: Path) -> None:
    """Fails when the file is not where a run folder has it, or not UTF-8."""
    content = full_content(title="τ × 8 · 速い")
    path = write_report(tmp_path, content)
    assert path == tmp_path / "report.html"
    assert path.read_text(encoding="utf-8") == render_report(content)
