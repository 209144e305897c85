"""Keys of other projects under the names of the networks that are known here."""

from __future__ import annotations

import pytest

from massrl.weights.key_names import namings, prefixes


def test_prefix_ends_at_a_module() -> None:
    """Guards ``downconv1.weight``, which is no ``conv1.weight``."""
    keys = ["conv1.weight", "a.conv1.weight", "x/conv1.weight", "downconv1.weight"]
    assert prefixes(keys, "conv1.weight") == ["", "a.", "x/"]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("net.layer1._orig_mod.0.conv1.weight", "net.layer1.0.conv1.weight"),
        ("module.net._fsdp_wrapped_module.bn1.bias", "net.bn1.bias"),
        ("submodule.conv1.weight", None),
        ("blocks.2.17.mlp.w12.weight", "blocks.17.mlp.fc1.weight"),
        ("teacher/backbone.blocks.0.0.mlp.w3.bias", "teacher/backbone.blocks.0.mlp.fc2.bias"),
        ("layer2.0.shortcut.0.weight", "layer2.0.downsample.0.weight"),
    ],
)
def test_key_is_read_under_another_name(key: str, name: str | None) -> None:
    """Guards wrappers within a network, DINOv2's chunks, and blocks with a shortcut."""
    plain, *others = namings([key])
    assert plain.keys == {key: key}
    assert [dict(item.keys) for item in others] == ([{name: key}] if name else [])


def test_names_that_would_be_one_are_left_as_they_are() -> None:
    """Guards a wrapped and a plain network of the same name against overwriting each other."""
    assert len(namings(["module.conv1.weight", "conv1.weight"])) == 1


@pytest.mark.parametrize(
    ("first", "small_stem", "is_small"),
    [(4, None, False), (3, None, True), (2, "small-no-relu", True)],
)
def test_number_of_the_first_stage_tells_what_comes_before_it(
    first: int, small_stem: str | None, is_small: bool
) -> None:
    """Guards the ReLU and the pooling of networks that an nn.Sequential numbers."""
    keys = ["b.0.weight", "b.1.bias", f"b.{first}.0.conv1.weight", f"b.{first + 3}.1.bn2.bias"]
    naming = namings(keys)[-1]
    assert list(naming.keys) == [
        "b.conv1.weight",
        "b.bn1.bias",
        "b.layer1.0.conv1.weight",
        "b.layer4.1.bn2.bias",
    ]
    assert (naming.small_stem, naming.is_small) == (small_stem, is_small)
