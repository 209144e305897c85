"""Text in lines: nothing is lost, nothing runs over."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw
from tests.views.drawing.test_contact_sheet import every_step

from massrl.views.drawing.typography import INK, MUTED, Run, Style, wrap, write


@pytest.mark.parametrize("low", [True, False])
def test_lines_together_are_the_whole_step(low: bool) -> None:
    """Fails when wrapping loses or doubles a character."""
    font = Style(64).plain
    for width in (20, 40, 64, 160):
        for step in every_step(low=low):
            lines = wrap([Run(str(step), "black", font)], width)
            written = "".join(run.text for line in lines for run in line)
            assert written.replace(" ", "") == str(step).replace(" ", "")
            if width >= 40:
                assert all(sum(font.getlength(run.text) for run in line) <= width for line in lines)


def test_words_break_at_spaces_and_keep_their_run() -> None:
    """Fails when a word is broken that has room on the next line, or a colour is lost."""
    font = Style(160).plain
    width = int(font.getlength("abc def")) - 1
    lines = wrap([Run("abc def", INK, font), Run("ghijkl", MUTED, font)], width)
    assert [[run.text for run in line] for line in lines] == [["abc"], ["def"], ["ghijkl"]]
    assert [line[0].colour for line in lines] == [INK, INK, MUTED]


def test_sizes_grow_with_the_tile_and_never_vanish() -> None:
    """Fails when a sheet of small tiles has text that nobody can read, or lines of no width."""
    small, usual, large = Style(64), Style(160), Style(320)
    assert (usual.size(28), large.size(28), small.size(1)) == (28, 56, 1)
    assert small.plain.size >= 10
    assert small.line >= 14
    assert usual.left(1) - usual.left(0) == 160 + usual.gap


def test_lines_are_written_below_one_another() -> None:
    """Fails when lines overlap, or run out to the left."""
    style = Style(160)
    picture = Image.new("RGB", (200, 60), "white")
    lines = wrap([Run("one two", INK, style.plain)], int(style.plain.getlength("one")) + 1)
    write(ImageDraw.Draw(picture), lines, left=20, top=5, step=25)
    rows = np.flatnonzero((np.asarray(picture) < 255).any(axis=(1, 2)))
    assert len(lines) == 2
    assert rows.min() >= 5
    assert not ((rows > 22) & (rows < 30)).any()
    assert rows.max() > 30
    assert (np.asarray(picture)[:, :19] == 255).all()
