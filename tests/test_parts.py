"""Tables of parts, other packages' rows in them, and the notation name(argument, key=value)."""

from __future__ import annotations

import logging
from importlib import import_module

import pytest

from massrl.errors import ConfigError
from massrl.parts import Call, Row, Table, bind_call, parse_call
from tests.conftest import Plugin

CIRCLES = """
def circle(radius: float = 1.0, filled: bool = False):
    '''Draw a circle.

    Not part of the summary.
    '''
    return radius, filled
"""


def shapes_table() -> Table:
    """A table with rows of massrl's own, which load functions of the standard library."""
    return Table(
        "shape",
        group="massrl.shapes",
        flag="--shape",
        rows={
            "square": ("collections:OrderedDict", "four equal sides"),
            "triangle": ("collections:Counter", "three corners"),
        },
    )


def test_table_lists_its_rows_in_the_order_in_which_they_are_written() -> None:
    """Guards help texts and error suggestions, which list the names."""
    table = shapes_table()
    assert list(table) == ["square", "triangle"]
    assert table["square"] == Row("collections:OrderedDict", "four equal sides", "massrl")
    assert len(table) == 2
    assert "circle" not in table


def test_unknown_name_is_refused_with_a_suggestion_and_the_flag() -> None:
    """Guards the message: what was asked for, what is meant, and where it was asked for."""
    table = shapes_table()
    with pytest.raises(ConfigError, match=r"unknown shape 'sqare'.*'square'.*\(--shape\)"):
        table.load("sqare")
    with pytest.raises(ConfigError, match=r"\(--other\)"):
        table.build("sqare(2)", flag="--other")


def test_part_of_another_package_is_listed_loaded_and_built(plugin: Plugin) -> None:
    """Guards the public way to add a part: an entry point is all it takes."""
    plugin(CIRCLES, {"massrl.shapes": {"circle": "my_plugin:circle"}})
    table = shapes_table()
    assert list(table) == ["square", "triangle", "circle"]
    assert table["circle"].package == "my_plugin"
    assert table.load("circle") is import_module("my_plugin").circle
    assert table.build("circle(2.5, filled=true)") == (2.5, True)
    assert table.build("circle") == (1.0, False)


def test_arguments_that_a_part_does_not_take_are_refused(plugin: Plugin) -> None:
    """Guards parts of other packages: their arguments are checked as massrl's own."""
    plugin(CIRCLES, {"massrl.shapes": {"circle": "my_plugin:circle"}})
    with pytest.raises(ConfigError, match=r"no argument 'radus'.*'radius'.*\(--shape\)"):
        shapes_table().build("circle(radus=2)")


def test_summary_is_the_row_s_or_the_first_line_of_the_docstring(plugin: Plugin) -> None:
    """Guards the lists of parts: a row of another package has no summary of its own."""
    module = CIRCLES + "\nclass Ring:\n    '''Docstring.'''\n    summary = 'a circle with a hole'\n"
    plugin(module, {"massrl.shapes": {"circle": "my_plugin:circle", "ring": "my_plugin:Ring"}})
    table = shapes_table()
    assert table.summary("square") == "four equal sides"
    assert table.summary("circle") == "Draw a circle."
    assert table.summary("ring") == "a circle with a hole"


def test_name_that_is_taken_is_logged_and_ignored(
    plugin: Plugin, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards massrl's own parts: no installed package changes what a recipe means."""
    plugin(CIRCLES, {"massrl.shapes": {"square": "my_plugin:circle"}})
    table = shapes_table()
    with caplog.at_level(logging.WARNING, "massrl"):
        assert table["square"].package == "massrl"
    assert "shape 'square' of package my_plugin is ignored" in caplog.text


def test_first_of_two_packages_with_one_name_keeps_it(
    plugin: Plugin, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards against the last of two installed packages winning without a word."""
    plugin(CIRCLES, {"massrl.shapes": {"circle": "my_plugin:circle"}})
    plugin(CIRCLES, {"massrl.shapes": {"circle": "my_other:circle"}}, name="my_other")
    table = shapes_table()
    with caplog.at_level(logging.WARNING, "massrl"):
        package = table["circle"].package
    assert package in ("my_plugin", "my_other")
    assert f"is ignored: {package} has one of this name" in caplog.text


@pytest.mark.parametrize(
    ("module", "target", "cause"),
    [
        ("import no_such_module", "my_plugin:circle", "No module named 'no_such_module'"),
        ("raise ValueError('first\\nsecond')", "my_plugin:circle", "ValueError: first second"),
        ("def", "my_plugin:circle", "SyntaxError"),
        ("circle = 1", "my_plugin:circel", "has no attribute 'circel'"),
        ("", "elsewhere_entirely:circle", "No module named 'elsewhere_entirely'"),
    ],
)
def test_broken_package_is_refused_in_one_line(
    plugin: Plugin, module: str, target: str, cause: str
) -> None:
    """Guards the user against another package's traceback, and names the package."""
    plugin(module, {"massrl.shapes": {"circle": target}})
    with pytest.raises(ConfigError) as caught:
        shapes_table().load("circle")
    message = str(caught.value)
    assert message.startswith("shape 'circle' of package my_plugin cannot be loaded: ")
    assert cause in message
    assert "\n" not in message


def test_broken_package_does_no_harm_to_other_names(plugin: Plugin) -> None:
    """Guards runs that do not use the broken part: nothing is imported before it is used."""
    plugin("raise ValueError", {"massrl.shapes": {"circle": "my_plugin:circle"}})
    table = shapes_table()
    assert "circle" in table
    assert table.load("square").__name__ == "OrderedDict"


def test_parts_are_loaded_at_their_first_look_up() -> None:
    """Guards loops over pixels and plans, which look a part up as in a dictionary."""
    table = shapes_table()
    assert not table.parts
    assert table.parts["square"] is table.load("square")
    assert list(table.parts) == ["square"]
    with pytest.raises(ConfigError, match=r"unknown shape 'sqare'.*\(--shape\)"):
        table.parts["sqare"]


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


def target(
    count: int = 2, size: float = 1.0, name: str = "a", on: bool = False
) -> tuple[object, ...]:
    return count, size, name, on


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
