"""The list of recipes, and one recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from massrl.cli import main
from massrl.commands.recipes import list_recipes
from massrl.config.files import read_layers
from massrl.config.parser import make_config
from massrl.recipes import about_recipe, recipe_names


def test_recipes_are_listed_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    """Guards the list against a recipe that is left out, or takes more than its line."""
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:-2]] == recipe_names()
    assert all(
        line.endswith(about_recipe(name).summary)
        for line, name in zip(lines, recipe_names(), strict=False)
    )


def test_function_returns_what_each_recipe_is_about() -> None:
    """Guards Python users: a name and its source, hardware, cost and metrics."""
    recipes = list_recipes()
    assert list(recipes) == recipe_names()
    assert recipes["shapes-byol"] == about_recipe("shapes-byol")


def test_printed_recipe_is_a_configuration_that_can_be_read_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Guards ``massrl recipes NAME > my.yaml``, the way to a recipe of one's own."""
    assert main(["recipes", "cifar10-byol"]) == 0
    file = tmp_path / "my.yaml"
    file.write_text(capsys.readouterr().out)
    assert "# expect: 86.8" in file.read_text()
    assert make_config(read_layers(file)) == make_config(read_layers("cifar10-byol"))
