"""Files of other projects, made with the keys that these write: which network is taken, and its features.

The features are those of the project's own forward pass, written here with plain torch and torchvision.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.weights.conftest import Weights, under, with_statistics, without_classifier
from torch import Tensor, nn
from torchvision.models import resnet18

from massrl.errors import CheckpointError
from massrl.models.backbones import build_backbone
from massrl.weights.foreign import take_backbone
from massrl.weights.origins import ORIGINS, UNKNOWN, origin_of

HEAD = {"0.weight": torch.zeros(3, 4), "0.bias": torch.zeros(3)}
LINEAR = {"weight": torch.zeros(3, 4), "bias": torch.zeros(3)}


def flattened(state: Weights) -> Weights:
    """The children of torchvision's network in an nn.Sequential, without the classifier."""
    network = resnet18()
    network.load_state_dict(state)
    return nn.Sequential(*list(network.children())[:-1]).state_dict()


Layout = Callable[[Weights, Weights], Weights]
# Keys from the trained network and the other one -> part and project that must be found.
LAYOUTS: dict[str, tuple[Layout, str, str]] = {
    "solo-learn's BYOL, as MASSRL's": (
        lambda own, slow: {
            **under("state_dict/momentum_backbone.", without_classifier(slow)),
            **under("state_dict/backbone.", without_classifier(own)),
            **under("state_dict/projector.", HEAD),
            **under("state_dict/momentum_projector.", HEAD),
            **under("state_dict/predictor.", HEAD),
            **under("state_dict/classifier.", LINEAR),
        },
        "state_dict/backbone",
        "solo-learn",
    ),
    "solo-learn's SimCLR": (
        lambda own, slow: {
            **under("state_dict/backbone.", without_classifier(own)),
            **under("state_dict/classifier.", LINEAR),
            **under("state_dict/projector.", HEAD),
        },
        "state_dict/backbone",
        "solo-learn",
    ),
    "old solo-learn": (
        lambda own, slow: {
            **under("state_dict/momentum_encoder.", without_classifier(slow)),
            **under("state_dict/encoder.", without_classifier(own)),
            **under("state_dict/momentum_projector.", HEAD),
        },
        "state_dict/encoder",
        "solo-learn",
    ),
    "lightly's BYOL with torchvision's network": (
        lambda own, slow: {
            **under("state_dict/backbone_momentum.", flattened(slow)),
            **under("state_dict/backbone.", flattened(own)),
            **under("state_dict/projection_head.layers.", HEAD),
            **under("state_dict/prediction_head.layers.", HEAD),
        },
        "state_dict/backbone",
        "lightly",
    ),
    "lightly's DINO": (
        lambda own, slow: {
            **under("state_dict/student_backbone.", flattened(slow)),
            **under("state_dict/teacher_backbone.", flattened(own)),
            **under("state_dict/student_head.layers.", HEAD),
        },
        "state_dict/teacher_backbone",
        "lightly's DINO",
    ),
    "DINO": (
        lambda own, slow: {
            **under("student/module.backbone.", without_classifier(slow)),
            **under("student/module.head.mlp.", HEAD),
            **under("teacher/backbone.", without_classifier(own)),
            **under("teacher/head.mlp.", HEAD),
        },
        "teacher/backbone",
        "DINO",
    ),
    "MoCo v1 and v2": (
        lambda own, slow: {
            **under("state_dict/module.encoder_k.", without_classifier(slow) | under("fc.", HEAD)),
            **under("state_dict/module.encoder_q.", without_classifier(own) | under("fc.", HEAD)),
            "state_dict/module.queue": torch.zeros(8, 8),
        },
        "state_dict/module.encoder_q",
        "MoCo",
    ),
    "MoCo v3": (
        lambda own, slow: {
            **under("state_dict/module.momentum_encoder.", without_classifier(slow)),
            **under("state_dict/module.base_encoder.", without_classifier(own)),
            **under("state_dict/module.predictor.", HEAD),
        },
        "state_dict/module.base_encoder",
        "MoCo v3",
    ),
    "SimSiam": (
        lambda own, slow: {
            **under("state_dict/module.encoder.", without_classifier(own) | under("fc.", HEAD)),
            **under("state_dict/module.predictor.", HEAD),
        },
        "state_dict/module.encoder",
        "SimSiam",
    ),
    "VICReg": (
        lambda own, slow: {
            **under("model/module.backbone.", without_classifier(own)),
            **under("model/module.projector.", HEAD),
        },
        "model/module.backbone",
        "VICReg",
    ),
    "Barlow Twins": (
        lambda own, slow: {
            **under("model/module.backbone.", without_classifier(own)),
            **under("model/module.projector.", HEAD),
            "model/module.bn.running_mean": torch.zeros(3),
        },
        "model/module.backbone",
        "Barlow Twins",
    ),
    "SwAV": (
        lambda own, slow: {
            **under("module.", without_classifier(own)),
            **under("module.projection_head.", HEAD),
            "module.prototypes.weight": torch.zeros(3, 3),
        },
        "module",
        "SwAV",
    ),
    "BYOL of lucidrains": (
        lambda own, slow: {
            **under("online_encoder.net.", own),
            **under("online_encoder.projector.", HEAD),
            **under("target_encoder.net.", slow),
            **under("online_predictor.", HEAD),
        },
        "online_encoder.net",
        "BYOL in PyTorch",
    ),
    "BYOL of sthalles": (
        lambda own, slow: {
            **under("online_network_state_dict/encoder.", flattened(own)),
            **under("online_network_state_dict/projetion.net.", HEAD),
            **under("target_network_state_dict/encoder.", flattened(slow)),
            **under("target_network_state_dict/projetion.net.", HEAD),
        },
        "online_network_state_dict/encoder",
        "BYOL in PyTorch",
    ),
    "mmselfsup's BYOL": (
        lambda own, slow: {
            **under("state_dict/online_net.0.", without_classifier(own)),
            **under("state_dict/online_net.1.", HEAD),
            **under("state_dict/target_net.0.", without_classifier(slow)),
        },
        "state_dict/online_net.0",
        "mmselfsup",
    ),
    "mmselfsup 1.x": (
        lambda own, slow: {
            **under("state_dict/backbone.", without_classifier(own)),
            **under("state_dict/neck.", HEAD),
            **under("state_dict/target_net.module.0.", without_classifier(slow)),
        },
        "state_dict/backbone",
        "mmselfsup",
    ),
    "VISSL": (
        lambda own, slow: {
            **under(
                "classy_state_dict/base_model/model/trunk/_feature_blocks.",
                without_classifier(own),
            ),
            **under("classy_state_dict/base_model/model/heads/0.clf.", HEAD),
        },
        "classy_state_dict/base_model/model/trunk/_feature_blocks",
        "VISSL",
    ),
    "Lightning with a prefix of one's own": (
        lambda own, slow: {
            **under("state_dict/my_net.ema_net.", slow),
            **under("state_dict/my_net.my_part.", own),
        },
        "state_dict/my_net.my_part",
        "",
    ),
    "torch.compile in DDP": (
        lambda own, slow: under("model/module._orig_mod.", own),
        "model/module._orig_mod",
        "",
    ),
    "torch.compile of each stage": (
        lambda own, slow: {key.replace(".", "._orig_mod.", 1): own[key] for key in own},
        ".",
        "",
    ),
    "torchvision or timm with another head": (
        lambda own, slow: {**without_classifier(own), **under("head.fc.", LINEAR)},
        ".",
        "",
    ),
    "plain": (lambda own, slow: own, ".", ""),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_backbone_of_each_project_is_taken_with_its_own_features(
    name: str, states: tuple[Weights, Weights]
) -> None:
    """Guards the right network of two, every tensor in its place, and an account of the rest."""
    own, slow = states
    layout, part, origin = LAYOUTS[name]
    weights = layout(own, slow)
    imported = take_backbone(weights, where="file")
    found = (imported.part.name, imported.part.backbone, imported.part.stem, imported.origin.name)
    assert found == (part, "resnet18", "standard", origin)
    original = resnet18()
    original.load_state_dict(own)
    original.fc = nn.Identity()
    check_features(imported.state, original, stem="standard", side=64)
    unused = sum(tensors for tensors, _ in imported.unused.values())
    assert unused + len(imported.state) - len(imported.missing_counters) == len(weights)
    values = sum(values for _, values in imported.unused.values())
    assert values + sum(item.numel() for item in imported.state.values()) == sum(
        item.numel() for item in weights.values()
    )


def test_every_row_of_the_table_has_a_made_file() -> None:
    """Guards a row that no file is tested with; those of small stems and ViTs are below."""
    made = {origin for _, _, origin in LAYOUTS.values()}
    assert {origin.name for origin in ORIGINS} - made == {"DINOv2", "SimCLR in PyTorch"}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("DINO", "DINO: the teacher, a moving average of the trained network, is taken"),
        ("MoCo v3", "MoCo v3: the student, which is trained, is taken, and not its moving average"),
        ("SimSiam", "SimSiam: it has no moving average of this network"),
        ("plain", "of no known project: it has no moving average of this network"),
    ],
)
def test_account_says_which_of_teacher_and_student_is_taken(
    name: str, told: str, states: tuple[Weights, Weights]
) -> None:
    """Guards features of the network that nobody meant, without a word."""
    lines = take_backbone(LAYOUTS[name][0](*states), where="file").lines()
    assert f"origin    {told}" in lines


def check_features(state: Weights, original: nn.Module, *, stem: str, side: int) -> None:
    """Assert that our network with these weights has the original's features."""
    network = build_backbone("resnet18", stem=stem, image_side=side)
    network.load_state_dict(state)
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours, theirs = network.eval()(images), original.eval()(images)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


class Block(nn.Module):
    """A residual block of CIFAR ResNets with a `shortcut`, as lightly's ResNetGenerator has it."""

    def __init__(self, before: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride > 1 or before != channels:
            shortcut = nn.Conv2d(before, channels, 1, stride, bias=False)
            self.shortcut = nn.Sequential(shortcut, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return feature maps of feature maps."""
        inner = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(inner + self.shortcut(x))


class Generated(nn.Module):
    """A CIFAR ResNet-18 whose ReLU and pooling are functions, so that children() lacks them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        widths = (64, 64, 128, 256, 512)
        for i in range(1, 5):
            first = Block(widths[i - 1], widths[i], 1 if i == 1 else 2)
            setattr(self, f"layer{i}", nn.Sequential(first, Block(widths[i], widths[i], 1)))
        self.linear = nn.Linear(512, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of images of 32 px."""
        x = torch.relu(self.bn1(self.conv1(x)))
        for i in range(1, 5):
            x = getattr(self, f"layer{i}")(x)
        return nn.functional.avg_pool2d(x, 4).flatten(1)


def cifar(padding: int) -> nn.Module:
    """Torchvision's network with a 3×3 convolution of stride 1 in front and no pooling."""
    network = resnet18()
    network.conv1 = nn.Conv2d(3, 64, 3, 1, padding, bias=False)
    network.maxpool = nn.Identity()
    network.fc = nn.Identity()
    return network


def sequence_of_generated() -> tuple[Weights, nn.Module]:
    network = nn.Sequential(*list(Generated().children())[:-1], nn.AdaptiveAvgPool2d(1))
    with_statistics(network)
    whole = nn.Sequential(network, nn.Flatten())
    keys = under("state_dict/backbone.", network.state_dict())
    return keys | under("state_dict/projection_head.layers.", HEAD), whole


def generated() -> tuple[Weights, nn.Module]:
    network = with_statistics(Generated())
    return under("model/encoder.", network.state_dict()), network


def solo_learn() -> tuple[Weights, nn.Module]:
    network = with_statistics(cifar(padding=2))
    keys = under("state_dict/backbone.", network.state_dict())
    heads = under("state_dict/classifier.", LINEAR) | under("state_dict/projector.", HEAD)
    return keys | heads, network


def sequence_without_pooling() -> tuple[Weights, nn.Module]:
    network = with_statistics(cifar(padding=1))
    children = [item for name, item in network.named_children() if name not in ("maxpool", "fc")]
    keys = under("f.", nn.Sequential(*children).state_dict())
    return keys | under("g.", HEAD), network


SMALL: dict[str, tuple[Callable[[], tuple[Weights, nn.Module]], str, str]] = {
    "solo-learn": (solo_learn, "solo-learn", "small-pad2"),
    "lightly's ResNetGenerator in a Sequential": (
        sequence_of_generated,
        "lightly",
        "small-no-relu",
    ),
    "ResNetGenerator": (generated, "", "small"),
    "SimCLR of leftthomas": (sequence_without_pooling, "SimCLR in PyTorch", "small"),
}


@pytest.mark.parametrize("name", SMALL)
def test_small_stem_of_each_project_is_its_own(name: str) -> None:
    """Guards solo-learn's networks, whose padding of 2 no weight tells: features were off by 28 %.

    Of the kind: the ReLU that a Sequential of lightly's network lacks, the pooling that others left out.
    """
    torch.manual_seed(0)
    make, origin, stem = SMALL[name]
    weights, original = make()
    imported = take_backbone(weights, where="file")
    assert (imported.origin.name, imported.part.stem) == (origin, stem)
    check_features(imported.state, original, stem=stem, side=32)


@pytest.mark.parametrize(("padding", "stem"), [(1, "small"), (2, "small-pad2")])
def test_small_stem_of_no_known_project_is_refused_until_it_is_named(
    padding: int, stem: str
) -> None:
    """Guards a padding that is guessed: both stems have the same weights."""
    torch.manual_seed(0)
    original = with_statistics(cifar(padding))
    weights = under("state_dict/net.", original.state_dict())
    with pytest.raises(CheckpointError) as caught:
        take_backbone(weights, where="file")
    for words in ("--model.stem", "small ", "small-pad2", "small-no-relu"):
        assert words in str(caught.value)
    imported = take_backbone(weights, where="file", stem=stem)
    check_features(imported.state, original, stem=stem, side=32)


@pytest.mark.parametrize("first", [2, 3])
def test_sequence_without_pooling_is_never_read_as_a_network_that_pools(
    first: int, states: tuple[Weights, Weights]
) -> None:
    """Guards a 7×7 stem whose Sequential has no room for a pooling: no network here is like that."""
    names = {"conv1": 0, "bn1": 1} | {f"layer{i + 1}": first + i for i in range(4)}
    weights = {}
    for key, item in without_classifier(states[0]).items():
        module, _, rest = key.partition(".")
        weights[f"net.{names[module]}.{rest}"] = item
    with pytest.raises(CheckpointError, match="has no known ResNet"):
        take_backbone(weights, where="file")


def test_backbone_and_classifier_alone_are_of_no_known_project() -> None:
    """Guards a network of anyone's, whose stem would be taken for solo-learn's."""
    keys = ["state_dict/backbone.conv1.weight", "state_dict/classifier.weight"]
    assert origin_of(keys) is UNKNOWN
    assert origin_of([*keys, "state_dict/projector.0.weight"]).name == "solo-learn"
