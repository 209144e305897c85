"""A table of parts, and other packages' rows in it."""

from __future__ import annotations

import logging
from importlib import import_module

import pytest
from tests.conftest import Plugin

from massrl.errors import ConfigError
from massrl.registry.table import Row, Table

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


def test_summary_is_the_part_s_own_and_no_other_s(plugin: Plugin) -> None:
    """Guards the list of parts against docstrings of massrl's classes, or Python's, for a part without any.

    The same kind: an instance, a subclass, a partial function.
    """
    source = """
from functools import partial
from massrl.registry.table import Table
from massrl.weights.formats import Format

instance = Format(suffix=".x", write=None, program=None)
described = Format(suffix=".x", write=None, program=None, summary="for a museum")
prepared = partial(print, 1)

class Plain(Table):
    pass

class Told(Table):
    "A table with legs."

of_its_own_class = Told("table", group="", flag="", rows={})
"""
    expected = {
        "instance": "",
        "described": "for a museum",
        "prepared": "",
        "Plain": "",
        "Told": "A table with legs.",
        "of_its_own_class": "A table with legs.",
    }
    plugin(source, {"massrl.shapes": {name: f"my_plugin:{name}" for name in expected}})
    table = shapes_table()
    assert {name: table.summary(name) for name in expected} == expected


def test_name_that_is_taken_is_logged_and_ignored(
    plugin: Plugin, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards massrl's own parts: no installed package changes what a recipe means."""
    plugin(CIRCLES, {"massrl.shapes": {"square": "my_plugin:circle"}})
    table = shapes_table()
    with caplog.at_level(logging.WARNING, "massrl"):
        assert list(table) == ["square", "triangle"]
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


def test_arguments_are_checked_without_a_call(plugin: Plugin) -> None:
    """Guards a run folder that would be written before a wrong argument is found."""
    called = (
        "raise_if_called = True\n\ndef circle(lr, radius: float = 1.0):\n    raise AssertionError\n"
    )
    plugin(called, {"massrl.shapes": {"circle": "my_plugin:circle"}})
    shapes_table().check("circle(radius=2)", 0.1)
    with pytest.raises(ConfigError, match="no argument 'size'"):
        shapes_table().check("circle(size=2)", 0.1)
