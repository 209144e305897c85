"""The style sheet: every colour a series can have, in light and dark, and no rule cut off."""

from __future__ import annotations

import re

from massrl.report.style import NUM_COLOURS, STYLE


def test_every_colour_of_a_series_is_defined_light_and_dark_and_used() -> None:
    """Fails when a series is drawn in black because its colour has no definition."""
    for number in range(NUM_COLOURS):
        assert len(re.findall(rf"--s{number}:#[0-9a-f]{{6}};", STYLE)) == 2
        assert f".s{number}{{stroke:var(--s{number});background:var(--s{number})}}" in STYLE
    assert f"--s{NUM_COLOURS}:" not in STYLE


def test_colours_of_one_theme_differ() -> None:
    """Fails when two series look the same."""
    light, dark = STYLE.split("prefers-color-scheme:dark", 1)
    for theme in (light, dark):
        colours = re.findall(r"--s\d:(#[0-9a-f]{6})", theme)
        assert len(set(colours)) == len(colours) == NUM_COLOURS


def test_every_rule_is_closed() -> None:
    """Fails when a missing brace switches off all that follows."""
    depth = 0
    for letter in STYLE:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        assert 0 <= depth <= 2
    assert depth == 0
    assert set(re.findall(r"var\((--[\w]+)\)", STYLE)) <= set(re.findall(r"(--[\w]+):", STYLE))
