"""``massrl recipes``: list the recipes, or print one."""

from __future__ import annotations

from massrl.commands.arguments import first, none_left


def run_recipes(words: list[str]) -> int:
    """Run ``massrl recipes`` and return the exit code."""
    from massrl.recipes import about_recipe, recipe_names

    if words:
        from massrl.config.files import config_text, read_layers
        from massrl.config.parser import make_config

        name = first(words, "the recipe")
        none_left(words)
        about = about_recipe(name)
        for key in ("summary", "source", "hardware", "cost", "expect"):
            print(f"# {key}: {getattr(about, key)}")
        print(config_text(make_config(read_layers(name))), end="")
        return 0
    width = max(map(len, recipe_names()))
    for name in recipe_names():
        print(f"{name:<{width}}  {about_recipe(name).summary}")
    print("\nmassrl recipes NAME shows one whole: source, hardware, cost, the figure to expect")
    return 0
