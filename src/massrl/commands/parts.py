"""``massrl parts``: list every registered part, massrl's own and those of other packages."""

from __future__ import annotations

from typing import NamedTuple

from massrl.commands.arguments import none_left
from massrl.errors import ConfigError
from massrl.registry import TABLES
from massrl.registry.table import Table


class Part(NamedTuple):
    """One registered part.

    Attributes:
        kind: such as ``policy``.
        flag: where a user asks for it.
        name: what a user asks for.
        summary: one line.
        package: the distribution that registers it.
    """

    kind: str
    flag: str
    name: str
    summary: str
    package: str


def list_parts() -> list[Part]:
    """List every objective, optimiser, policy, task, … by kind, those of other packages included.

    Parts of other packages are imported for their summaries; one that cannot be imported is listed with
    the reason.
    """
    return [
        Part(table.kind, table.flag, name, _summary(table, name), row.package)
        for table in TABLES
        for name, row in table.items()
    ]


def _summary(table: Table, name: str) -> str:
    try:
        return table.summary(name)
    except ConfigError as error:
        return str(error)


def run_parts(words: list[str]) -> int:
    """Run ``massrl parts`` and return the exit code."""
    none_left(words)
    parts = list_parts()
    width = max(len(part.name) for part in parts)
    kind = ""
    for part in parts:
        if part.kind != kind:
            print(f"{chr(10) if kind else ''}{part.kind} ({part.flag})")
            kind = part.kind
        own = part.package == "massrl"
        package = "" if own else f" [{part.package}]"
        print(f"  {part.name:<{width}}  {part.summary}{package}")
    return 0
