"""``massrl recipes``: list the recipes, or print one."""

from __future__ import annotations

import dataclasses

from massrl.commands.arguments import first, none_left
from massrl.recipes import About, about_recipe, recipe_names


def list_recipes() -> dict[str, About]:
    """List every recipe by name, with its summary, source, hardware, cost and expected metrics."""
    return {name: about_recipe(name) for name in recipe_names()}


def run_recipes(words: list[str]) -> int:
    """Run ``massrl recipes`` and return the exit code."""
    if words:
        from massrl.config.files import config_text, read_layers
        from massrl.config.parser import make_config

        name = first(words, "the recipe")
        none_left(words)
        for key, text in dataclasses.asdict(about_recipe(name)).items():
            print(f"# {key}: {text}")
        print(config_text(make_config(read_layers(name))), end="")
        return 0
    recipes = list_recipes()
    width = max(map(len, recipes))
    for name, about in recipes.items():
        print(f"{name:<{width}}  {about.summary}")
    print(
        "\nmassrl recipes NAME prints a recipe: source, hardware, cost, expected metrics, all fields"
    )
    return 0
