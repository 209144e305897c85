"""Read and write configurations in files: recipes, a user's own, and the one in a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from massrl.config.checks import is_policy_file
from massrl.config.layers import merge_layers
from massrl.config.parser import make_config
from massrl.config.pretrain import Config
from massrl.config.renamed import is_saved_config, translate_fields
from massrl.errors import ConfigError
from massrl.recipes import DEFAULT_RECIPE, read_recipe


def read_layers(
    source: str | Path | dict[str, Any] | Config, *, recipe: str | None = None
) -> dict[str, Any]:
    """Return a configuration in any form as nested mappings.

    Args:
        source: a ``Config``, a mapping, the path of a YAML file, or the name of a recipe. A mapping
            or file is merged over the recipe it names, or else over ``recipe``.
        recipe: the recipe for a source that names none; the default one if ``None``.

    Raises:
        ConfigError: if there is no such file or recipe, or the file names another one.
    """
    if isinstance(source, Config):
        return source.to_dict()
    if isinstance(source, str) and not source.endswith((".yaml", ".yml")):
        return read_recipe(source)
    if isinstance(source, dict):
        content = source
    else:
        content = _of_another_run(read_config_file(Path(source)), Path(source))
    named = content.get("recipe")
    if recipe and named and named != recipe:
        raise ConfigError(
            f"{source} builds on the recipe {named!r}, not on --recipe {recipe} (leave out --recipe, or "
            f"edit the file)"
        )
    return merge_layers(read_recipe(named or recipe or DEFAULT_RECIPE), content, kind=Config)


def load_config(path: Path) -> Config:
    """Load and check the configuration that a run saved; version 0.1.0's is translated."""
    return make_config(read_config_file(path))


def read_config_file(path: Path) -> dict[str, Any]:
    """Read a configuration file as nested mappings.

    Raises:
        ConfigError: if it cannot be read or is no mapping.
    """
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"cannot read the configuration {path}: {reason} (--config)") from None
    if not isinstance(read, dict):
        raise ConfigError(f"{path} holds no configuration: a YAML mapping is wanted (--config)")
    content: dict[str, Any] = {key: value for key, value in read.items() if key != "about"}
    if is_saved_config(content):  # perhaps written by version 0.1.0
        content = translate_fields(content, Config)
    views = content.get("views")
    if isinstance(views, dict):
        found = {"target_policy": _beside(path, views.get("target_policy"))}
        if isinstance(views.get("policies"), list):
            found["policies"] = [_beside(path, policy) for policy in views["policies"]]
        known = {name: value for name, value in found.items() if name in views}
        content = {**content, "views": {**views, **known}}
    return content


def _beside(path: Path, policy: Any) -> Any:
    """Return a policy file's path from the current folder if it is given relative to ``path``."""
    own = isinstance(policy, str) and is_policy_file(policy)
    return str(path.parent / policy) if own and (path.parent / policy).is_file() else policy


def _of_another_run(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a run's own configuration without its folder, and without all lengths but its steps."""
    if Path(content.get("out") or path).resolve() != path.resolve().parent:
        return content
    train = content.get("train")
    if isinstance(train, dict) and train.get("max_steps") is not None:
        train = {key: train[key] for key in train if key not in ("epochs", "time_budget")}
    return {**content, "out": "", **({"train": train} if train is not None else {})}


def config_text(config: Config) -> str:
    """Return the configuration as YAML, which ``--config`` reads again."""
    text: str = yaml.safe_dump(config.to_dict(), sort_keys=False, allow_unicode=True)
    return text
