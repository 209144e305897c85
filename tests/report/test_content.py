"""Blocks and what they share: a further kind of block is one class, and the page knows none of them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import pytest
from tests.report.conftest import HOSTILE, Page, assert_hostile_words_are_text, rendered

from massrl.report.bar_chart import Bars
from massrl.report.content import Block, Details, PageContext
from massrl.report.line_chart import Curve
from massrl.report.style import NUM_COLOURS


class Quote(Block):
    """A kind of block that the package does not have."""

    def __init__(self, text: str) -> None:
        self.text = text

    def series_names(self) -> Sequence[str]:
        """Have a colour of its own."""
        return [self.text]

    def html(self, page: PageContext) -> str:
        """Return a quotation in its colour."""
        page.add_style(".quote{font-style:italic}")
        page.add_script("<script>var quote;</script>")
        colour = page.colour(self.text)
        return f'<blockquote class="quote s{colour}">{escape(self.text)}</blockquote>'


def test_kind_of_block_that_the_page_does_not_know_is_shown_with_its_style_and_script() -> None:
    """Fails when a further kind of block needs a change anywhere else."""
    text = rendered(Quote("first"), Quote("second"))
    assert Page(text).text.count("first") == 1
    assert [text.count(words) for words in (".quote{", "var quote", 'class="quote')] == [1, 1, 2]
    assert 'class="quote s0"' in text
    assert 'class="quote s1"' in text
    assert text.index(".quote{") < text.index("</head>")
    assert text.index("var quote") > text.index("</main>")


def test_series_has_one_colour_in_all_blocks_of_a_page() -> None:
    """Fails when the same name has two colours on one page."""
    bars = Bars(title="b", groups=["g"], series=[("x", [1.0]), ("y", [2.0])])
    curve = Curve(title="c", y_label="y", series=[("y", [0, 1], [0, 1]), ("z", [0, 1], [1, 0])])
    text = rendered(Curve(title="c", y_label="y", series=[("y", [0, 1], [0, 1])]), bars, curve)
    assert text.count('class="bar s0"') == text.count('class="bar s1"') == 1
    lines = [part[:1] for part in text.split('class="line s')[1:]]
    assert lines == ["1", "1", "2"]


def test_colours_begin_anew_after_the_last_one() -> None:
    """Fails when a ninth series has a colour without a style."""
    page = PageContext([str(number) for number in [*range(NUM_COLOURS), 0, NUM_COLOURS]])
    assert [page.colour(str(number)) for number in (0, 1, NUM_COLOURS - 1, NUM_COLOURS)] == [
        0,
        1,
        NUM_COLOURS - 1,
        0,
    ]
    assert page.colour("unknown") == 0


def test_block_without_html_cannot_be_made() -> None:
    """Fails when a block that shows nothing goes unnoticed until its page is opened."""

    class Nothing(Block):
        pass

    with pytest.raises(TypeError, match="html"):
        Nothing()  # type: ignore[abstract]


def test_details_are_closed_and_their_text_is_as_given() -> None:
    """Fails when a configuration loses its line breaks, or fills a screen before it is opened."""
    text = rendered(Details(title="Configuration", text="data:\n  batch_size: 256\n"))
    assert "<pre>data:\n  batch_size: 256\n</pre>" in text
    assert "<details open" not in text
    assert_hostile_words_are_text(Details(title=HOSTILE, text=HOSTILE), times=2)
