"""Backbones found in other projects' weights, laid out as those projects write them."""

from __future__ import annotations

import pytest
import torch
from tests.weights.conftest import Weights, under, without_classifier

from massrl.errors import CheckpointError
from massrl.models.backbones import build_backbone
from massrl.models.names import NARROW_RESNETS, TORCHVISION_RESNETS
from massrl.weights.foreign import shapes_of, take_backbone


def test_part_that_is_named_is_imported(states: tuple[Weights, Weights]) -> None:
    """Guards the choice between online and target network."""
    weights = {**under("backbone.", states[0]), **under("momentum_backbone.", states[1])}
    for part, own in (("backbone", states[0]), ("momentum_backbone", states[1])):
        imported = take_backbone(weights, where="file", part=part)
        assert torch.equal(imported.state["conv1.weight"], own["conv1.weight"])
        assert len(imported.others) == 1
    with pytest.raises(CheckpointError, match=r"no backbone 'projector'.*backbone.*--model.part"):
        take_backbone(weights, where="file", part="projector")


def test_counters_that_old_files_lack_are_zero_and_reported(
    states: tuple[Weights, Weights],
) -> None:
    """Guards files of torch before 0.4.1, which no strict load would take."""
    old = {key: item.half() for key, item in states[0].items() if "num_batches" not in key}
    imported = take_backbone(old, where="file")
    assert len(imported.missing_counters) == 20
    assert all(item.dtype in (torch.float32, torch.int64) for item in imported.state.values())
    assert any("20 batch-norm counters" in line for line in imported.lines())


def test_weight_that_is_missing_or_of_another_shape_is_never_random(
    states: tuple[Weights, Weights],
) -> None:
    """Guards a backbone with random layers in the middle."""
    for broken in (
        {key: item for key, item in states[0].items() if key != "layer3.1.bn2.running_var"},
        {**states[0], "layer3.1.conv2.weight": torch.zeros(256, 256, 1, 1)},
    ):
        with pytest.raises(CheckpointError, match=r"has no known ResNet.*--model.backbone"):
            take_backbone(broken, where="file")


def test_small_stem_and_another_network_are_told_apart() -> None:
    """Guards the network's name, which no such file says."""
    for name, stem in (
        *((name, "standard") for name in (*TORCHVISION_RESNETS, *NARROW_RESNETS)),
        ("resnet18", "small"),
        ("resnet34", "small"),
        ("resnet10-narrow", "small"),
    ):
        shapes = shapes_of(name, stem, image_side=224)  # zeros that share their memory: no network
        state = {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}
        told = stem if stem != "standard" else None
        imported = take_backbone(under("backbone.", state), where="file", stem=told)
        assert (imported.part.backbone, imported.part.stem) == (name, stem)
        assert not imported.unused


def test_network_with_more_layers_than_a_known_one_is_refused(
    states: tuple[Weights, Weights],
) -> None:
    """Guards a network that would be cut short and evaluated as if it were complete."""
    longer = {**states[0], "layer3.2.conv1.weight": torch.zeros(256, 256, 3, 3)}
    with pytest.raises(CheckpointError, match=r"begins as resnet18 and continues with layer3.2"):
        take_backbone(longer, where="file")


def test_part_without_a_prefix_can_be_named(states: tuple[Weights, Weights]) -> None:
    """Guards ``--model.part .``, as the account calls it."""
    weights = {**without_classifier(states[0]), **under("teacher.", states[1])}
    imported = take_backbone(weights, where="file", part=".")
    assert torch.equal(imported.state["conv1.weight"], states[0]["conv1.weight"])


def test_network_that_is_no_resnet_is_named_by_the_user() -> None:
    """Guards timm's networks, whose weights are loaded as strictly."""
    network = build_backbone("vit_tiny_patch16_224", image_side=64)
    weights = under("student/backbone.", network.state_dict())
    with pytest.raises(CheckpointError, match="--model.backbone"):
        take_backbone(weights, where="file")
    imported = take_backbone(weights, where="file", backbone="vit_tiny_patch16_224", image_side=64)
    assert set(imported.state) == set(network.state_dict())
    assert not imported.unused
