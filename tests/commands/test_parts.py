"""The list of registered parts."""

from __future__ import annotations

import pytest
from tests.conftest import Plugin

from massrl.cli import main
from massrl.commands.parts import list_parts
from massrl.registry import OBJECTIVES, TABLES

SOURCE = '''
from massrl.methods.base import Method


class Mine(Method):
    """Compare images with themselves."""
'''


def test_every_row_of_every_table_is_listed_with_its_summary() -> None:
    """Guards the list against a table, or a row, that is forgotten."""
    wanted = [
        (table.kind, name, row.summary, "massrl") for table in TABLES for name, row in table.items()
    ]
    assert wanted
    assert [(part.kind, part.name, part.summary, part.package) for part in list_parts()] == wanted


def test_command_groups_parts_by_kind(capsys: pytest.CaptureFixture[str]) -> None:
    """Guards what a user reads: the kind, the flag that takes it, its parts."""
    assert main(["parts"]) == 0
    groups = capsys.readouterr().out.split("\n\n")
    assert len(groups) == sum(len(table) > 0 for table in TABLES)
    first = groups[0].splitlines()
    assert first[0] == "objective (--method.name)"
    assert [line.split()[0] for line in first[1:]] == list(OBJECTIVES)
    assert "[" not in "".join(first[1:])


def test_part_of_another_package_is_marked(
    plugin: Plugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards users against taking another package's part for massrl's own."""
    plugin(SOURCE, {"massrl.objectives": {"mine": "my_plugin:Mine"}})
    assert main(["parts"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("  mine "))
    assert line.split(maxsplit=1)[1] == "Compare images with themselves. [my_plugin]"


def test_part_that_cannot_be_imported_is_listed_with_the_reason(
    plugin: Plugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards the whole list against one broken package."""
    plugin("import nowhere_to_be_found", {"massrl.objectives": {"mine": "my_plugin:Mine"}})
    assert main(["parts"]) == 0
    out = capsys.readouterr().out
    assert "No module named 'nowhere_to_be_found'" in out
    assert "\noptimiser (--optim.name)\n" in out


def test_argument_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Guards an argument against being read and ignored."""
    assert main(["parts", "policies"]) == 2
    assert "unexpected argument 'policies'" in capsys.readouterr().err
