"""The tables of massrl's own parts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tests.conftest import Plugin

from massrl.errors import ConfigError
from massrl.registry import TABLES
from massrl.registry.table import Table

CIRCLES = """
def circle(radius: float = 1.0, filled: bool = False):
    '''Draw a circle.

    Not part of the summary.
    '''
    return radius, filled
"""


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.kind)
def test_every_row_of_massrl_can_be_imported_and_has_a_summary(table: Table) -> None:
    """Guards the tables: rows are text, which neither a linter nor a type checker reads."""
    for name, row in table._own.items():
        assert table.load(name) is not None
        assert 0 < len(row.summary) <= 100
        assert "\n" not in row.summary


def test_entry_point_groups_are_distinct_and_begin_with_massrl() -> None:
    """Guards the names that other packages register under."""
    groups = [table.group for table in TABLES]
    assert len(set(groups)) == len(groups)
    assert all(group.startswith("massrl.") for group in groups)


def test_processes_that_are_started_see_the_plugin(plugin: Plugin) -> None:
    """Guards the fixture: worker processes and command lines must find the package too."""
    plugin(CIRCLES, {"massrl.sources": {"circles": "my_plugin:circle"}})
    code = "from massrl.registry import SOURCES; print(SOURCES.load('circles')())"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=True
    )
    assert done.stdout == "(1.0, False)\n"


@pytest.mark.parametrize(
    "table", [table for table in TABLES if table._expects], ids=lambda table: table.kind
)
def test_part_of_the_wrong_type_is_refused_in_one_line(plugin: Plugin, table: Table) -> None:
    """Guards against an AttributeError somewhere in a run, which looks like a fault of massrl."""
    plugin(CIRCLES, {table.group: {"round": "my_plugin:circle"}})
    with pytest.raises(
        ConfigError, match=rf"{table.kind} 'round' of package my_plugin is no massrl"
    ):
        table.load("round")
    for name in table._own:
        table._check_type(name, table.load(name))
