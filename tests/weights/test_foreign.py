"""Backbones found in other projects' weights, laid out as those projects write them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from massrl.errors import CheckpointError
from massrl.models.backbones import NARROW_RESNETS, TORCHVISION_RESNETS, build_backbone
from massrl.weights.foreign import shapes_of, take_backbone

Weights = dict[str, Tensor]


def under(prefix: str, state: Weights) -> Weights:
    return {prefix + key: item for key, item in state.items()}


@pytest.fixture(scope="module")
def states() -> tuple[Weights, Weights]:
    """A trained network and its moving average, with their classifiers."""
    torch.manual_seed(0)
    made = []
    for _ in range(2):
        network = resnet18()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.running_mean, std=0.1)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
        made.append(network.state_dict())
    return made[0], made[1]


def without_classifier(state: Weights) -> Weights:
    return {key: item for key, item in state.items() if not key.startswith("fc.")}


def flattened(state: Weights) -> Weights:
    """As in lightly's tutorials: the children of the network in an nn.Sequential."""
    network = resnet18()
    network.load_state_dict(state)
    return nn.Sequential(*list(network.children())[:-1]).state_dict()


HEAD = {"0.weight": torch.zeros(3, 4), "0.bias": torch.zeros(3)}
LAYOUTS: dict[str, tuple[Callable[[Weights, Weights], Weights], str]] = {
    "MASSRL, BYOL": (
        lambda own, slow: {
            **under("state_dict/momentum_backbone.", slow),
            **under("state_dict/backbone.", own),
            **under("state_dict/projector.", HEAD),
            **under("state_dict/momentum_projector.", HEAD),
            **under("state_dict/predictor.", HEAD),
        },
        "state_dict/backbone",
    ),
    "old solo-learn": (
        lambda own, slow: {
            **under("state_dict/momentum_encoder.", without_classifier(slow)),
            **under("state_dict/encoder.", without_classifier(own)),
        },
        "state_dict/encoder",
    ),
    "lightly": (
        lambda own, slow: {
            **under("state_dict/backbone_momentum.", flattened(slow)),
            **under("state_dict/backbone.", flattened(own)),
            **under("state_dict/projection_head.layers.", HEAD),
        },
        "state_dict/backbone",
    ),
    "DINO": (
        lambda own, slow: {
            **under("student/module.backbone.", without_classifier(slow)),
            **under("student/module.head.", HEAD),
            **under("teacher/backbone.", without_classifier(own)),
            **under("teacher/head.", HEAD),
        },
        "teacher/backbone",
    ),
    "MoCo v2": (
        lambda own, slow: {
            **under(
                "state_dict/module.encoder_k.", {**without_classifier(slow), **under("fc.", HEAD)}
            ),
            **under(
                "state_dict/module.encoder_q.", {**without_classifier(own), **under("fc.", HEAD)}
            ),
            "state_dict/module.queue": torch.zeros(8, 8),
        },
        "state_dict/module.encoder_q",
    ),
    "MoCo v3": (
        lambda own, slow: {
            **under("state_dict/module.momentum_encoder.", without_classifier(slow)),
            **under("state_dict/module.base_encoder.", without_classifier(own)),
            **under("state_dict/module.predictor.", HEAD),
        },
        "state_dict/module.base_encoder",
    ),
    "plain": (lambda own, slow: own, "."),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_backbone_is_found_and_gives_its_own_features(
    name: str, states: tuple[Weights, Weights]
) -> None:
    """Guards the right network of two, every tensor in its place, and an account of the rest."""
    own, slow = states
    layout, part = LAYOUTS[name]
    weights = layout(own, slow)
    imported = take_backbone(weights, where="file")
    assert (imported.part.name, imported.part.backbone, imported.part.stem) == (
        part,
        "resnet18",
        "standard",
    )
    network = build_backbone("resnet18")
    network.load_state_dict(imported.state)
    original = resnet18()
    original.load_state_dict(own)
    original.fc = nn.Identity()
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network.eval()(images), original.eval()(images))
    unused = sum(tensors for tensors, _ in imported.unused.values())
    assert unused + len(imported.state) == len(weights)
    values = sum(values for _, values in imported.unused.values())
    assert values + sum(item.numel() for item in imported.state.values()) == sum(
        item.numel() for item in weights.values()
    )


def test_part_that_is_named_is_imported(states: tuple[Weights, Weights]) -> None:
    """Guards the choice between online and target network."""
    weights = {**under("backbone.", states[0]), **under("momentum_backbone.", states[1])}
    for part, own in (("backbone", states[0]), ("momentum_backbone", states[1])):
        imported = take_backbone(weights, where="file", part=part)
        assert torch.equal(imported.state["conv1.weight"], own["conv1.weight"])
        assert len(imported.others) == 1
    with pytest.raises(CheckpointError, match=r"no backbone 'projector'.*backbone.*--part"):
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
        with pytest.raises(CheckpointError, match=r"has no known ResNet.*--backbone"):
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
        imported = take_backbone(under("backbone.", state), where="file")
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
    """Guards ``--part .``, as the account calls it."""
    weights = {**without_classifier(states[0]), **under("teacher.", states[1])}
    imported = take_backbone(weights, where="file", part=".")
    assert torch.equal(imported.state["conv1.weight"], states[0]["conv1.weight"])


def test_network_that_is_no_resnet_is_named_by_the_user() -> None:
    """Guards timm's networks, whose weights are loaded as strictly."""
    network = build_backbone("vit_tiny_patch16_224", image_side=64)
    weights = under("student/backbone.", network.state_dict())
    with pytest.raises(CheckpointError, match="--backbone"):
        take_backbone(weights, where="file")
    imported = take_backbone(weights, where="file", backbone="vit_tiny_patch16_224", image_side=64)
    assert set(imported.state) == set(network.state_dict())
    assert not imported.unused
