"""Recipes: each parses, has a description, and names a layout that exists."""

from __future__ import annotations

import pytest
import yaml

from massrl.config.files import read_layers
from massrl.config.parser import make_config
from massrl.config.pretrain import Config
from massrl.errors import ConfigError
from massrl.recipes import DEFAULT_RECIPE, about_recipe, read_recipe, recipe_names
from massrl.views.layouts import resolve_layout

ISSUE = [
    "shapes-massrl",
    "shapes-byol",
    "shapes-simclr",
    "cifar10-massrl",
    "cifar10-byol",
    "cifar10-simclr",
    "cifar10-cpu-massrl",
    "cifar10-cpu-byol",
    "cifar10-cpu-simclr",
    "imagenet-massrl",
    "imagenet-massrl-600",
    "imagenet-byol",
]
NUM_VIEWS = {"massrl": 8, "massrl-4": 4, "byol": 2, "simclr": 2}


def made(name: str) -> Config:
    return make_config(read_layers(name))


def test_recipes_that_the_issue_names_are_all_there() -> None:
    """Guards the names that the documentation and scripts rely on."""
    assert {*ISSUE, DEFAULT_RECIPE} <= set(recipe_names())


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_parses_and_resolves_its_layout(name: str) -> None:
    """Guards every shipped file against a key, a name or a value that is not accepted."""
    config = made(name)
    assert config.recipe == name
    layout = resolve_layout(config.views)
    assert layout.num_views >= 2


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_has_source_hardware_cost_and_expected_metrics(name: str) -> None:
    """Guards against a recipe without provenance."""
    about = about_recipe(name)
    for part in (about.summary, about.source, about.hardware, about.cost, about.expect):
        assert isinstance(part, str)
        assert part.strip()
        assert "\n" not in part


@pytest.mark.parametrize(
    ("name", "epochs", "batch", "lr", "projector", "views"),
    [
        ("imagenet-massrl", 300, 2048, 0.3, (2, 256), 8),
        ("imagenet-massrl-600", 600, 1600, 0.5, (3, 512), 8),
        ("imagenet-byol", 300, 4096, 0.3, (2, 256), 2),
    ],
)
def test_imagenet_recipe_holds_the_published_numbers(
    name: str, epochs: int, batch: int, lr: float, projector: tuple[int, int], views: int
) -> None:
    """Guards the table of hyper-parameters of the publication."""
    config = made(name)
    assert (config.train.epochs, config.batch_size, config.optim.lr) == (epochs, batch, lr)
    assert (config.model.projector.layers, config.model.projector.out) == projector
    assert (config.model.backbone, config.views.size, config.optim.name) == (
        "resnet50",
        224,
        "lars",
    )
    assert (config.optim.weight_decay, config.optim.trust_coefficient) == (1e-6, 1e-3)
    assert (config.optim.momentum, config.optim.warmup_epochs) == (0.9, 10)
    assert (config.method.name, config.method.target_momentum) == ("byol", 0.99)
    assert resolve_layout(config.views).num_views == views


def test_recipe_read_twice_is_not_changed_by_its_first_reader() -> None:
    """Guards against a cached mapping that a merge writes into."""
    first = read_recipe("shapes-byol")
    first["data"]["train"] = "changed"
    assert read_recipe("shapes-byol")["data"]["train"] == "shapes"


def test_unknown_recipe_is_refused_with_a_suggestion() -> None:
    """Guards the message."""
    with pytest.raises(
        ConfigError, match=r"unknown recipe 'cifar10-boyl'.*'cifar10-byol'.*--recipe"
    ):
        read_recipe("cifar10-boyl")


def test_default_recipe_leaves_open_what_depends_on_data_and_machine() -> None:
    """Guards ``massrl pretrain --data.train photos/``: nothing else may be needed."""
    config = made(DEFAULT_RECIPE)
    assert (config.views.size, config.model.backbone, config.data.batch_size) == (None, None, None)
    assert yaml.safe_load(yaml.safe_dump(config.to_dict())) == config.to_dict()


def test_readme_has_no_placeholder_and_names_recipes_that_exist() -> None:
    """Guards the README against figures to be filled in, and against recipes that are gone."""
    import re
    from pathlib import Path

    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert "@@" not in text
    assert set(re.findall(r"--recipe ([\w-]+)", text)) <= set(recipe_names())
