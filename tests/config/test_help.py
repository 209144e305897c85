"""Help of a dataclass's flags."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

import pytest
from tests.conftest import Plugin

from massrl.commands.demo import DemoConfig
from massrl.commands.views import SheetConfig
from massrl.config.evaluation import EvaluateConfig
from massrl.config.fields import option
from massrl.config.help import help_text
from massrl.config.parser import flags
from massrl.config.pretrain import Config
from massrl.registry import OBJECTIVES, OPTIMIZERS


def line_of(text: str, flag: str) -> str:
    """The line of a help text that is about a flag."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"  {flag} "))
    return line


@pytest.mark.parametrize("kind", [Config, EvaluateConfig, SheetConfig, DemoConfig])
def test_help_describes_every_flag(kind: type) -> None:
    """Guards the help: a field without its docstring would be shown without a text."""
    text = help_text(kind)
    lines = {line.split()[0]: line for line in text.splitlines() if line.startswith("  --")}
    assert set(lines) == set(flags(kind))
    assert all(len(line.split()) > 3 for line in lines.values()), lines


def test_help_lists_every_part_of_a_table_with_its_summary() -> None:
    """Guards the help against a part that is registered and not shown."""
    text = help_text(Config)
    for flag, table in (("--method.name", OBJECTIVES), ("--optim.name", OPTIMIZERS)):
        line = line_of(text, flag)
        assert table
        assert all(f"`{name}`: {row.summary}" in line for name, row in table.items())


def test_part_of_another_package_is_in_the_help_without_being_imported(plugin: Plugin) -> None:
    """Guards ``--help`` against a package that is slow, or broken, to import."""
    plugin("raise ValueError", {"massrl.objectives": {"mine": "my_plugin:Mine"}})
    line = line_of(help_text(Config), "--method.name")
    assert "`mine`: of package my_plugin" in line
    command = [sys.executable, "-m", "massrl", "pretrain", "--help"]
    shown = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True)
    assert line_of(shown.stdout, "--method.name") == line


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A shape."""

    name: str = option("circle", choices={"circle": "round", "square": "", "none": ""})
    """Which shape."""
    plain: str = option("a", choices={"a": "", "b": ""})
    """Which letter."""
    sizes: tuple[float, ...] = (0.5, 2.0)
    """How large,
    in two lines."""
    on: bool = True
    """Whether."""
    path: str | None = None
    """Where."""


@pytest.mark.parametrize(
    ("flag", "shown"),
    [
        ("--name", "Which shape. `circle`: round; `square`; `none`. [square]"),
        ("--plain", "Which letter. `a`, `b`. [a]"),
        ("--sizes", "How large, in two lines. [0.5,2.0]"),
        ("--on", "Whether. [true]"),
        ("--path", "Where."),
    ],
)
def test_help_line_has_text_choices_and_default(flag: str, shown: str) -> None:
    """Guards the form of a line; a recipe's value takes precedence over the field's default."""
    line = line_of(help_text(Shape, {"name": "square"}), flag)
    assert line.split(maxsplit=1)[1] == shown


def test_skipped_flag_is_not_in_the_help() -> None:
    """Guards arguments that are given before the flags."""
    assert "--on" not in help_text(Shape, skip=["--on"])


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place."""

    path: str | None = None
    """Where."""
    parts: tuple[str, ...] = ()
    """Which parts."""


def test_brackets_are_explained_where_there_are_any() -> None:
    """Guards a help without defaults against a line about them, and empty brackets."""
    assert "In brackets: the default." in help_text(Shape).splitlines()
    assert "rackets" not in help_text(Place)
    assert "[" not in help_text(Place)
