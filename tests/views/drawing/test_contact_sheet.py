"""The contact sheet: where things stand, and that nothing that was drawn goes unsaid."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from massrl.errors import ConfigError
from massrl.registry import LAYOUTS, OPERATIONS
from massrl.views.cpu import execute
from massrl.views.crops import Box
from massrl.views.drawing.contact_sheet import draw_sheet, save_sheet
from massrl.views.drawing.sheet_rows import SheetRow
from massrl.views.drawing.typography import Style
from massrl.views.layouts import layout_named
from massrl.views.operations.base import Step, operations
from massrl.views.plan import Plan, Planner, ViewPlan

# A sheet with tiles of 160, as the documentation shows it; pixels.
MARGIN, CELL, GAP, FIRST = 28, 213, 16, 28 + 213 + 24
WHITE = 255


def every_step(*, low: bool) -> list[Step]:
    """One step of every operation, at the end of its range."""
    steps = []
    for name in OPERATIONS:
        known = operations[name]
        value = known.low if low else known.high
        extra = (value, value) if name == "cutout" else ()
        steps.append(Step(name, (value, *extra) if known.has_value else ()))
    return steps


def make_row(
    *steps: Step,
    height: int = 120,
    width: int = 160,
    side: int = 160,
    views: int = 1,
    title: str = "a",
) -> SheetRow:
    """A dark image with views that are shaded by their number; nothing in it is white."""
    plans = tuple(
        ViewPlan("simclr", crop, Box(0, 0, height, width), True, steps) for crop in range(views)
    )
    plan = Plan(0, 0, 0, height, width, side, 0, 1, plans)
    pixels = np.stack([np.full((side, side, 3), 60 + number, np.uint8) for number in range(views)])
    return SheetRow(title, np.full((height, width, 3), 40, np.uint8), plan, pixels)


def row_tops(sheet: np.ndarray) -> list[int]:
    """Where tiles begin in the first view's column, whose right half no text or badge reaches."""
    column = sheet[:, FIRST + 159, 0]
    inside = np.flatnonzero((column >= 60) & (column < 70))
    return [int(y) for y in inside if y - 1 not in inside]


def test_layout_of_a_tiny_sheet() -> None:
    """Fails when tiles lose their size, their place or their alignment with one another."""
    sheet = draw_sheet([make_row(views=2), make_row(views=2)], tile=160)
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] == FIRST + 160 + GAP + 160 + MARGIN
    tops = row_tops(sheet)
    assert len(tops) == 2
    for top in tops:
        for number, left in enumerate((FIRST, FIRST + 160 + GAP)):
            tile = sheet[top + 20 : top + 160, left : left + 160]  # below the badge
            assert (tile == 60 + number).all()
            assert (sheet[top : top + 160, left + 160 : left + 160 + GAP] == WHITE).all()
    # A row is its tile, 8 px, a line for "flip" (16 px; the image's name and size are two), 20 px.
    assert tops[1] - tops[0] == 160 + 8 + 2 * 16 + 20
    assert sheet.shape[0] == tops[1] + 160 + 8 + 2 * 16 + 20


def test_image_of_four_to_three_fills_its_cell() -> None:
    """Fails when the image is distorted, or is not as tall as its views."""
    sheet = draw_sheet([make_row(height=120, width=160)])
    top = row_tops(sheet)[0]
    inside = sheet[top + 30 : top + 150, MARGIN + 30 : MARGIN + CELL - 10]
    assert (inside == 40).all()
    assert (sheet[top + 168, MARGIN : MARGIN + CELL] == WHITE).all()


@pytest.mark.parametrize("low", [True, False])
@pytest.mark.parametrize("tile", [64, 96, 160, 320])
def test_all_operations_fit_their_tile(tile: int, low: bool) -> None:
    """Fails when text runs out of its tile or off the sheet's end, where it would be cut off."""
    row = make_row(*every_step(low=low), side=32, views=2)
    sheet = draw_sheet([row], tile=tile)
    style = Style(tile)
    gap = sheet[style.margin * 2 + 3 * style.line :, style.left(0) + tile : style.left(1)]
    assert (gap == WHITE).all()
    assert (sheet[:, -style.margin :] == WHITE).all()
    assert (sheet[-style.size(10) :] == WHITE).all()
    below = sheet[
        -style.size(20) - style.line : -style.size(20), style.left(0) : style.left(0) + tile
    ]
    assert (below != WHITE).any()  # the last line is there, and is the last


def test_image_and_views_stay_untouched() -> None:
    """Fails when boxes or badges are drawn into the caller's own arrays."""
    row = make_row(Step("invert"), side=160)
    before = row.image.copy(), row.views.copy()
    draw_sheet([row], tile=160)
    np.testing.assert_array_equal(row.image, before[0])
    np.testing.assert_array_equal(row.views, before[1])


def test_box_stands_where_the_crop_was_cut() -> None:
    """Fails when a box is drawn at the wrong scale or with its axes exchanged."""
    image = np.zeros((160, 160, 3), np.uint8)
    view = ViewPlan("simclr", 0, Box(80, 40, 60, 100), False, ())
    plan = Plan(0, 0, 0, 160, 160, 32, 0, 1, (view,))
    row = SheetRow("a", image, plan, np.full((1, 32, 32, 3), 60, np.uint8))
    sheet = draw_sheet([row])
    top = row_tops(sheet)[0]
    cell = sheet[top : top + 160, MARGIN : MARGIN + 160]
    drawn = np.argwhere(cell.any(axis=2))
    assert drawn.min(axis=0).tolist() == [80, 40]
    assert drawn.max(axis=0).tolist() == [139, 139]


def test_small_views_keep_their_pixels_when_enlarged() -> None:
    """Fails when a 32-pixel view is blurred on the sheet."""
    row = make_row(side=32)
    checks = (np.indices((32, 32)).sum(axis=0) % 2 * -90 + 150).astype(np.uint8)
    row.views[0] = checks[..., None]
    sheet = draw_sheet([row])
    tile = sheet[row_tops(sheet)[0] :, FIRST : FIRST + 160][:160]
    expected = np.kron(checks, np.ones((5, 5), np.uint8))
    np.testing.assert_array_equal(tile[20:, :, 0], expected[20:])


@pytest.mark.parametrize("name", list(LAYOUTS))
@pytest.mark.parametrize("shape", [(32, 32), (8, 400), (400, 8), (1, 1)])
def test_every_layout_draws_at_any_shape(name: str, shape: tuple[int, int]) -> None:
    """Fails when a layout's crops, a thin image or a single pixel break the drawing."""
    planner = Planner(layout_named(name), side=32, seed=0)
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3)).astype(np.uint8)
    rows = []
    for index in range(3):
        plan = planner.plan(epoch=0, index=index, height=shape[0], width=shape[1])
        rows.append(SheetRow(f"image {index}", image, plan, execute(image, plan)))
    sheet = draw_sheet(rows, tile=64, title=name)
    assert (
        sheet.shape[1]
        == Style(64).left(layout_named(name).num_views) - Style(64).gap + Style(64).margin
    )


def test_sampled_policies_stand_under_their_views() -> None:
    """Fails when a column whose policy differs from row to row does not say which one it was."""
    simclr, weak = (make_row(title="a") for _ in range(2))
    other = ViewPlan("weak", 0, Box(0, 0, 120, 160), True, ())
    weak = SheetRow("a", weak.image, Plan(0, 0, 1, 120, 160, 160, 0, 1, (other,)), weak.views)
    same, mixed = draw_sheet([simclr, simclr]), draw_sheet([simclr, weak])

    def inked_lines(sheet: np.ndarray) -> int:
        below = sheet[row_tops(sheet)[1] + 168 :, FIRST : FIRST + 160]
        return sum(bool((below[16 * n : 16 * n + 16] != WHITE).any()) for n in range(2))

    assert (inked_lines(same), inked_lines(mixed)) == (1, 2)


def test_long_words_and_titles_stay_on_the_sheet() -> None:
    """Fails when a path without spaces runs into the views, or a title off the sheet."""
    row = make_row(title="a/very/long/path/" * 8)
    sheet = draw_sheet([row], title="words " * 60)
    assert (sheet[:, -MARGIN:] == WHITE).all()
    assert (sheet[row_tops(sheet)[0] :, MARGIN + CELL : FIRST] == WHITE).all()


def test_sheet_file_holds_the_sheet(tmp_path: Path) -> None:
    """Fails when the file is not a PNG, has its colours exchanged, or its folder is not made."""
    row = make_row(side=160)
    row.views[..., 0] = 200
    path = tmp_path / "new" / "sheet.png"
    save_sheet([row], path, command="views", tile=80, title="t")
    read = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(read, draw_sheet([row], tile=80, title="t"))


def test_mistakes_are_named(tmp_path: Path) -> None:
    """Fails when an empty sheet, tiny tiles or a bad path end in a traceback of another kind."""
    row = make_row()
    (tmp_path / "a.png").mkdir()
    with pytest.raises(ConfigError, match="at least one image"):
        draw_sheet([])
    with pytest.raises(ConfigError, match="tile is 20 px"):
        draw_sheet([row], tile=20)
    with pytest.raises(ConfigError, match="cannot write"):
        save_sheet([row], tmp_path / "a.png", command="views", tile=80)
    with pytest.raises(ValueError, match="3 views, but 1"):
        draw_sheet([SheetRow("a", row.image, row.plan, np.repeat(row.views, 3, axis=0))])
