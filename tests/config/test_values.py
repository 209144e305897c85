"""Values in the type of their field, from text and from YAML's own types."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from massrl.config.parser import flags
from massrl.config.pretrain import Config
from massrl.config.values import read_value, split_list, wanted_text
from massrl.errors import ConfigError

GOOD: list[tuple[str, Any, Any]] = [
    ("int", "12", 12),
    ("int", "-3", -3),
    ("int", 12, 12),
    ("float", "1e-3", 0.001),
    ("float", "3", 3.0),
    ("float", 3, 3.0),
    ("bool", "true", True),
    ("bool", "False", False),
    ("bool", True, True),
    ("str", "12", "12"),
    ("str", "null", "null"),
    ("str | None", "null", None),
    ("int | None", "null", None),
    ("int | None", None, None),
    ("tuple[str, ...]", "weak, randaugment(2,9)", ("weak", "randaugment(2,9)")),
    ("tuple[str, ...]", '["a,b", "c"]', ("a,b", "c")),
    ("tuple[str, ...]", "[weak, simclr]", ("weak", "simclr")),
    ("tuple[str, ...]", [], ()),
    ("tuple[str, ...]", "[]", ()),
    ("tuple[float, float]", "0.2,1", (0.2, 1.0)),
    ("tuple[float, float]", [0, 1], (0.0, 1.0)),
    ("tuple[int, ...] | None", "[3, 4]", (3, 4)),
    ("tuple[float, float, float]", (0.1, 0.2, 0.3), (0.1, 0.2, 0.3)),
]
BAD: list[tuple[str, Any]] = [
    *[("int", value) for value in ("1e3", "2.5", "", "x", 2.5, True, [1])],
    *[
        ("float", value)
        for value in ("x", "nan", "inf", "-inf", "1,5", True, [1.0], "9" * 400 + "e9")
    ],
    *[("bool", value) for value in ("perhaps", "1", 1, 0)],
    *[("str", value) for value in (3, 3.5, True, ["a"])],
    *[("tuple[str, ...]", value) for value in ("", "a,,b", "a,", 3, [3], '["a", 3]', {"a": 1})],
    *[("tuple[float, float]", value) for value in ("1", "1,2,3", "1,x", [1], 3.0, "[]")],
    *[("tuple[int, ...]", value) for value in ("1,2.5", [1, 2.5])],
]


@pytest.mark.parametrize(("annotation", "given", "expected"), GOOD)
def test_value_is_of_the_type_of_its_field(annotation: str, given: Any, expected: Any) -> None:
    """Guards one meaning for shell, YAML and Python: ``1`` is a number where one is wanted."""
    value = read_value(given, annotation, flag="--x")
    assert value == expected
    assert type(value) is type(expected)
    if isinstance(expected, tuple):
        assert list(map(type, value)) == list(map(type, expected))


@pytest.mark.parametrize(("annotation", "given"), BAD)
def test_value_of_another_type_is_refused(annotation: str, given: Any) -> None:
    """Guards the message: the flag, the value as it was given, what is accepted."""
    with pytest.raises(ConfigError) as caught:
        read_value(given, f"{annotation} | None", flag="--x")
    assert str(caught.value) == f"--x is {given!r}, but {wanted_text(annotation)} is wanted"


def test_none_is_refused_where_a_value_is_wanted() -> None:
    """Guards ``epochs: null`` in a file."""
    for given in (None, "null"):
        with pytest.raises(ConfigError, match="^--x is empty, but a number is wanted$"):
            read_value(given, "float", flag="--x")


def test_every_field_has_a_type_with_words() -> None:
    """Guards a new kind of field against a KeyError in front of a user."""
    assert all(wanted_text(annotation) for annotation in flags(Config).values())


@pytest.mark.parametrize("text", ["[a, b]", '["a", "b"]', "['a', 'b']".replace("'", '"')])
def test_list_in_brackets_is_read_as_yaml_reads_it(text: str) -> None:
    """Guards what a user copies from a ``config.yaml``."""
    assert split_list(text) == yaml.safe_load(text)
