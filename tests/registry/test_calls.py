"""The notation name(argument, key=value)."""

from __future__ import annotations

import pytest

from massrl.errors import ConfigError
from massrl.registry.calls import Call, bind_call, parse_call


def target(
    count: int = 2, size: float = 1.0, name: str = "a", on: bool = False
) -> tuple[object, ...]:
    return count, size, name, on


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("weak", Call("weak", (), {})),
        (" weak ( ) ", Call("weak", (), {})),
        ("byol-1", Call("byol-1", (), {})),
        ("f(2,9)", Call("f", (2, 9), {})),
        ("f( 2 , m = 9 )", Call("f", (2,), {"m": 9})),
        ("f(0.5,-3,1e-4)", Call("f", (0.5, -3, 1e-4), {})),
        ("f(true,False)", Call("f", (True, False), {})),
        ("f(imagenet,'a b',\"c\")", Call("f", ("imagenet", "a b", "c"), {})),
        ("f(a=x=y)", Call("f", (), {"a": "x=y"})),
    ],
)
def test_call_is_read_with_numbers_truth_values_and_words(text: str, wanted: Call) -> None:
    """Guards the types: ``9`` is a whole number, ``9.0`` is none, ``true`` is no word."""
    call = parse_call(text, flag="--x")
    assert call == wanted
    assert [type(a) for a in call.arguments] == [type(a) for a in wanted.arguments]


@pytest.mark.parametrize(
    "text", ["", "2f", "f(", "f)", "f(g(1))", "f(1)(2)", "f(1) x", "f g", "-f"]
)
def test_text_of_another_form_is_refused(text: str) -> None:
    """Guards against half a text being read, and against anything like evaluation."""
    with pytest.raises(ConfigError, match=r"not of the form.*\(--x\)"):
        parse_call(text, flag="--x")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("f", (2, 1.0, "a", False)),
        ("f(3)", (3, 1.0, "a", False)),
        ("f(size=2)", (2, 2, "a", False)),
        ("f(3,0.5,b,true)", (3, 0.5, "b", True)),
    ],
)
def test_arguments_reach_their_parameters(text: str, wanted: tuple[object, ...]) -> None:
    """Guards the binding; a whole number is good where any number is."""
    assert bind_call(parse_call(text, flag="--x"), target, flag="--x") == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("f(sise=2)", "f has no argument 'sise': did you mean 'size'"),
        ("f(1,2,b,true,5)", "too many positional arguments; accepted: .*count"),
        ("f(1,count=2)", "multiple values for argument 'count'"),
        ("f(1.5)", "count is 1.5, but a int is wanted"),
        ("f(true)", "count is True, but a int is wanted"),
        ("f(size=big)", "size is 'big', but a float is wanted"),
        ("f(size=true)", "size is True"),
        ("f(name=3)", "name is 3, but a str is wanted"),
        ("f(on=1)", "on is 1, but a bool is wanted"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_in_one_line(text: str, message: str) -> None:
    """Guards the message: call, argument, value, what is wanted, flag."""
    with pytest.raises(ConfigError, match=message) as caught:
        bind_call(parse_call(text, flag="--x"), target, flag="--x")
    assert "\n" not in str(caught.value)
    assert "(--x)" in str(caught.value)


def test_argument_whose_default_is_none_takes_any_value() -> None:
    """Guards optional settings of other packages' parts."""

    def optional(width: int | None = None) -> int | None:
        return width

    assert bind_call(parse_call("f(width=3)", flag="--x"), optional, flag="--x") == 3


def test_part_without_arguments_says_so() -> None:
    """Guards against a list of known arguments that is empty."""
    with pytest.raises(ConfigError, match="no argument 'k': it takes none"):
        bind_call(parse_call("f(k=3)", flag="--x"), lambda: None, flag="--x")
