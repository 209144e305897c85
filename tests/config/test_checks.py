"""Checks of single values."""

from __future__ import annotations

import pytest

from massrl.config.checks import MANY, choice, in_range, is_policy_file, raise_faults, require
from massrl.errors import ConfigError


@pytest.mark.parametrize(
    ("value", "low", "high", "fault"),
    [
        (1, 1, 3, None),
        (3, 1, 3, None),
        (None, 1, 3, None),
        (0, 1, 3, "--x is 0, but 1 to 3 is wanted"),
        (3.5, 1, 3, "--x is 3.5, but 1 to 3 is wanted"),
        (0.5, 1, MANY, "--x is 0.5, but 1 or more is wanted"),
        (float("nan"), 0, MANY, "--x is nan, but 0 or more is wanted"),
    ],
)
def test_range_includes_its_ends(
    value: float | None, low: float, high: float, fault: str | None
) -> None:
    """Guards the ends, a value that is not set, and NaN, which compares with nothing."""
    assert in_range(value, "--x", low=low, high=high) == fault


def test_choice_suggests_what_is_near() -> None:
    """Guards the message for a misspelt value."""
    assert choice("a", ["a", "b"], flag="--x") is None
    assert choice(None, ["a"], flag="--x") is None
    assert (
        choice("stpo", {"stop": 1, "skip": 2}, flag="--x") == "--x is 'stpo': did you mean 'stop'?"
    )


def test_faults_make_one_line() -> None:
    """Guards against one attempt per mistake."""
    raise_faults(None, require(True, "never"))
    with pytest.raises(ConfigError, match="^one; two$"):
        raise_faults("one", None, require(False, "two"))


def test_policy_file_is_told_by_its_suffix() -> None:
    """Guards names of policies against being opened as files."""
    assert [is_policy_file(text) for text in ("a.yaml", "b/c.yml", "simclr", "yaml")] == [
        True,
        True,
        False,
        False,
    ]
