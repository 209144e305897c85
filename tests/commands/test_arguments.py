"""Arguments that are no field of a dataclass."""

from __future__ import annotations

import pytest

from massrl.commands.arguments import first, none_left, refuse, take
from massrl.errors import ConfigError


@pytest.mark.parametrize(
    ("words", "value", "left"),
    [
        (["--a", "1", "--b", "2"], "1", ["--b", "2"]),
        (["--b=2", "--a=1"], "1", ["--b=2"]),
        (["--a=1", "--a", "3", "--b"], "3", ["--b"]),
        (["--a=x=y"], "x=y", []),
        (["--ab=1", "x"], None, ["--ab=1", "x"]),
    ],
)
def test_flag_is_taken_out_with_its_value(
    words: list[str], value: str | None, left: list[str]
) -> None:
    """Guards both spellings, the last of several, and flags that begin alike."""
    assert take(words, "--a", wanted="a name") == value
    assert words == left


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--a"], "needs a value"),
        (["--a", "--b"], "needs a value"),
        (["--a=1", "--a"], "needs a value"),
        (["--a="], "is empty"),
        (["--a", " "], "is empty"),
    ],
)
def test_flag_without_a_value_is_refused(words: list[str], fault: str) -> None:
    """Guards the next flag against being taken for a value."""
    with pytest.raises(ConfigError, match=f"^--a {fault}: a name is wanted$"):
        take(words, "--a", wanted="a name")


def test_flag_without_effect_is_refused() -> None:
    """Guards a command against options that it shares and does not use."""
    refuse(["--data.train=x", "--outer"], ["out"], why="leave it out")
    for words in (["--out=x"], ["--data.train", "y", "--out", "x"]):
        with pytest.raises(ConfigError, match="^--out: leave it out$"):
            refuse(words, ["out"], why="leave it out")


def test_argument_before_the_flags_is_taken_out() -> None:
    """Guards a flag against being taken for it."""
    words = ["photos", "--a"]
    assert first(words, "the images") == "photos"
    assert words == ["--a"]
    with pytest.raises(ConfigError, match="the images is missing"):
        first(words, "the images")


def test_argument_that_is_left_over_is_refused() -> None:
    """Guards arguments against being ignored."""
    none_left([])
    with pytest.raises(ConfigError, match="unexpected argument 'b'"):
        none_left(["b", "c"])
