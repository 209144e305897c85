"""Layers as nested mappings."""

from __future__ import annotations

import pytest

from massrl.config.files import read_layers
from massrl.config.layers import check_keys, discard_replaced, flat, merge, merge_layers, plain
from massrl.config.parser import make_config
from massrl.config.pretrain import Config
from massrl.errors import ConfigError


def test_unknown_keys_are_all_listed_with_suggestions() -> None:
    """Guards against a misspelt key that is silently ignored, at any depth."""
    content = {"dta": {}, "data": {"lmit": 3}, "model": {"projector": {"hiden": 1}}, "train": 3}
    with pytest.raises(ConfigError) as caught:
        check_keys(content, Config)
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "unknown key dta: did you mean 'data'",
        "unknown key data.lmit: did you mean 'limit'",
        "unknown key model.projector.hiden: did you mean 'hidden'",
        "train is 3, but a section is wanted",
    ):
        assert part in message


def test_merge_lets_later_layers_win_key_by_key() -> None:
    """Guards the layers: a file that sets one key of a section must keep the recipe's others."""
    base = {"data": {"limit": 1, "val": "b"}, "out": "x", "views": {"policies": ["a", "b"]}}
    over = {"data": {"limit": 2}, "out": "y", "views": {"policies": ["c"]}}
    merged = merge(base, over, {"data": {"val": None}})
    assert merged == {"data": {"limit": 2, "val": None}, "out": "y", "views": {"policies": ["c"]}}
    assert base["data"] == {"limit": 1, "val": "b"}  # not written to


@pytest.mark.parametrize("length", ["epochs", "time_budget", "max_steps"])
def test_length_of_a_later_layer_replaces_all_lengths_below(length: str) -> None:
    """Guards against a flag that is parsed and ignored: max_steps takes precedence over the others."""
    saved = {"train": {"epochs": 7.0, "time_budget": 600.0, "max_steps": 900, "seed": 3}}
    for config in (
        make_config(saved, {"train": {length: 5}}),
        make_config(saved, arguments=[f"--train.{length}=5"]),
        make_config(saved, arguments=[f"--train.{length}", "5"]),
    ):
        lengths = (config.train.epochs, config.train.time_budget, config.train.max_steps)
        assert lengths[["epochs", "time_budget", "max_steps"].index(length)] == 5
        assert config.train.max_steps in (None, 5)
        assert config.train.time_budget in (None, 5)
        assert config.train.seed == 3


def test_another_layout_brings_its_own_policies() -> None:
    """Guards against BYOL's layout with the four policies of the recipe below it."""
    config = make_config(read_layers("shapes-massrl"), arguments=["--views.layout=byol"])
    assert config.views.policies is None
    assert config.views.crop_scale == (0.7, 1.0)  # the images' own, not the layout's
    same = make_config(read_layers("shapes-massrl"), arguments=["--views.layout=massrl-4"])
    assert same.views.policies is not None
    named = make_config(
        read_layers("shapes-massrl"), {"views": {"layout": "byol", "policies": ["weak", "weak"]}}
    )
    assert named.views.policies == ("weak", "weak")


def test_layout_that_stays_the_same_discards_nothing() -> None:
    """Guards a later layer that names the layout below it: the policies of the recipe stay."""
    lower = {"views": {"layout": "byol", "policies": ["weak"]}, "method": {"pairs": "all"}}
    assert merge_layers(lower, {"views": {"layout": "byol"}}, kind=Config) == lower
    changed = merge_layers(lower, {"views": {"layout": "massrl"}}, kind=Config)
    assert changed == {"views": {"layout": "massrl"}, "method": {}}


def test_layer_without_a_layout_keeps_what_is_set() -> None:
    """Guards policies of a file over the default layout, which no layer below names."""
    lower = {"views": {"policies": ["weak"]}}
    assert discard_replaced(lower, {"views.layout": "massrl"}, kind=Config) == lower


@pytest.mark.parametrize("empty", [None, "null"])
def test_length_that_is_empty_discards_nothing(empty: str | None) -> None:
    """Guards ``--train.max_steps null``, which gives no length."""
    lower = {"train": {"epochs": 3.0}}
    assert discard_replaced(lower, {"train.max_steps": empty}, kind=Config) == lower


def test_plain_values_are_lists_at_any_depth() -> None:
    """Guards YAML files against tuples, which it writes as Python objects."""
    assert plain({"a": ((1, 2), {"b": (3,)}), "c": "d"}) == {"a": [[1, 2], {"b": [3]}], "c": "d"}


def test_flat_mapping_has_dotted_keys_and_keeps_empty_values() -> None:
    """Guards the comparison of two configurations field by field."""
    assert flat({"a": {"b": {"c": None}, "d": []}}) == {"a.b.c": None, "a.d": []}
