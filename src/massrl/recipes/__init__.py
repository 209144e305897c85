"""Named configurations, shipped as YAML, each with its source, hardware, cost and expected metrics."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from massrl.errors import ConfigError, suggest

DEFAULT_RECIPE = "default"


@dataclass(frozen=True)
class About:
    """Description of a recipe.

    Attributes:
        summary: one line.
        source: where its values come from.
        hardware: what it is meant for.
        cost: how long it takes there.
        expect: the expected metrics, or ``not yet measured``.
    """

    summary: str
    source: str
    hardware: str
    cost: str
    expect: str


@cache
def _files() -> dict[str, str]:
    folder = resources.files("massrl.recipes")
    return {
        entry.name.removesuffix(".yaml"): entry.read_text(encoding="utf-8")
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".yaml")
    }


def recipe_names() -> list[str]:
    """Return the names of all recipes, sorted."""
    return list(_files())


def read_recipe(name: str) -> dict[str, Any]:
    """Return a recipe's configuration as nested mappings, with its name under ``recipe``.

    Raises:
        ConfigError: if there is none of this name.
    """
    content = _content(name)
    content.pop("about")
    return {"recipe": name, **content}


def about_recipe(name: str) -> About:
    """Return the description of a recipe.

    Raises:
        ConfigError: if there is none of this name.
    """
    return About(**_content(name)["about"])


def _content(name: str) -> dict[str, Any]:
    if not isinstance(name, str) or name not in _files():  # a file may name anything
        raise ConfigError(f"unknown recipe {name!r}: {suggest(name, recipe_names())} (--recipe)")
    content: dict[str, Any] = yaml.safe_load(_files()[name])
    return content
