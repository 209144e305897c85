"""Closed choices and the code that implements them."""

from __future__ import annotations

import pytest

from massrl.config import choices
from massrl.models.backbones import _SMALL_STEMS

ALL = {name: value for name, value in vars(choices).items() if name.isupper()}


@pytest.mark.parametrize("name", ALL)
def test_choice_has_words_for_names_and_one_line_for_meanings(name: str) -> None:
    """Guards the help, and the command line: a name with a space or comma cannot be typed."""
    assert len(ALL[name]) >= 2
    for value, meaning in ALL[name].items():
        assert value
        assert not set(value) & set(" ,()=")
        assert "\n" not in meaning


def test_choices_are_those_that_the_code_implements() -> None:
    """Guards a value that is accepted and then unknown, or implemented and refused."""
    assert set(choices.STEMS) == {"auto", "standard", *_SMALL_STEMS}
