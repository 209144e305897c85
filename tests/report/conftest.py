"""What tests of pages share: a strict reader, hostile words, small blocks."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import numpy as np

from massrl.report.content import Block, ReportContent, Section
from massrl.report.page import render_report
from massrl.report.pictures import Picture

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
        """Open a tag, unless it is never closed."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag that closes itself."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost tag."""
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect the visible text."""
        if not {"style", "script"} & set(self.open):
            self.text += data


def rendered(*blocks: Block) -> str:
    """Return a page with these blocks alone."""
    return render_report(ReportContent(title="t", sections=[Section("s", blocks)]))


def assert_hostile_words_are_text(block: Block, *, times: int) -> None:
    """Check that a block of hostile words has them as text, and neither tags nor attributes of them."""
    page = Page(rendered(block))
    assert page.text.count(HOSTILE) == times
    assert not any("onload" in attributes for _, attributes in page.tags)
    assert rendered(block).count("<script") == 0


def picture(value: int = 0, **words: str) -> Picture:
    return Picture(image=np.full((8, 12, 3), value, np.uint8), **words)


def result(**changes: Any) -> dict[str, Any]:
    """Return one result of ``results.json``: k-NN on two classes."""
    content = {
        "acc1": 75.0,
        "acc5": None,
        "mean_per_class": 70.0,
        "per_class": {"cat": 50.0, "dog": 90.0},
        "confusion": [[1, 1], [1, 9]],
        "num_images": 12,
        "seconds": 1.25,
        "config": {"k": 20, "temperature": 0.07, "seed": 0, "task": ["knn"]},
        "data": {
            "train": {
                "name": "pets/train",
                "num_images": 1200,
                "num_classes": 2,
                "fingerprint": "a",
            },
            "val": {"name": "pets/val", "num_images": 12, "num_classes": 2, "fingerprint": "b"},
            "held_out": False,
        },
    }
    return content | changes
