"""Backbones: what every name becomes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from massrl.errors import ConfigError
from massrl.models.backbones import build_backbone, seeded_backbone
from massrl.models.names import TORCHVISION_RESNETS


def _images(side: int = 32) -> Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("resnet18", 512),
        ("resnet10-narrow", 256),
        ("resnet10-tiny", 128),
        ("mobilenetv3_small_050", 1024),
    ],
)
def test_backbone_gives_pooled_features_of_the_width_it_states(name: str, width: int) -> None:
    """Timm's own ``num_features`` says 288 for this MobileNet, whose output is 1024 wide."""
    backbone = build_backbone(name, image_side=32)
    assert backbone.num_features == width
    assert backbone.training
    assert backbone.eval()(_images()).shape == (2, width)


def test_torchvision_resnet_takes_torchvisions_weights() -> None:
    """Keys that differ from torchvision's, so that no published weight loads; a changed forward."""
    theirs = torchvision.models.resnet18(weights=None).eval()
    ours = build_backbone("resnet18", image_side=64).eval()
    assert ours.stem_used == "standard"
    state = {key: item for key, item in theirs.state_dict().items() if not key.startswith("fc.")}
    ours.load_state_dict(state, strict=True)
    theirs.fc = nn.Identity()
    assert torch.equal(ours(_images(64)), theirs(_images(64)))


def test_torchvision_names_all_exist_and_are_all_of_the_family() -> None:
    """A name that torchvision does not know, or a ResNet of torchvision's that falls to timm."""
    family = [name for name in torchvision.models.list_models() if "resne" in name]
    expected = [name for name in family if "/" not in name and not name.endswith("_v2")]
    expected = [name for name in expected if not name.startswith(("deeplab", "fcn", "fasterrcnn"))]
    classifiers = set(torchvision.models.list_models(module=torchvision.models))
    assert set(TORCHVISION_RESNETS) == classifiers & set(expected)


def test_narrow_resnet_has_the_stated_size() -> None:
    """A backbone for the CPU that grew."""
    backbone = build_backbone("resnet10-narrow", image_side=32)
    # by hand: stem 3*32*9 + 64; stages 2 convolutions + norms, shortcuts from the second on
    convolutions = 9 * (3 * 32 + 2 * 32 * 32 + 32 * 64 + 64 * 64 + 64 * 128 + 128 * 128)
    convolutions += 9 * (128 * 256 + 256 * 256) + 32 * 64 + 64 * 128 + 128 * 256
    norms = 2 * (32 + 2 * 32 + 3 * 64 + 3 * 128 + 3 * 256)
    assert sum(item.numel() for item in backbone.parameters()) == convolutions + norms == 1_226_400


@pytest.mark.parametrize(
    ("name", "stem", "side", "used", "width"),
    [
        ("resnet10-narrow", "auto", 63, "small", 16),  # its small stem has stride 2
        ("resnet10-narrow", "auto", 64, "standard", 8),
        ("resnet10-narrow", "small", 96, "small", 16),
        ("resnet10-narrow", "standard", 32, "standard", 8),
        ("resnet18", "auto", 32, "small", 32),
        ("resnet18", "standard", 32, "standard", 8),
        ("seresnet18", "auto", 32, "small", 32),  # timm's
    ],
)
def test_stem_is_small_below_64_pixels_unless_said(
    name: str, stem: str, side: int, used: str, width: int
) -> None:
    """A 32 px image that the standard stem shrinks to 8 px before the first block."""
    backbone = build_backbone(name, stem=stem, image_side=side).eval()
    assert backbone.stem_used == used
    seen: list[int] = []
    backbone.layer1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-1]))
    backbone(_images(32))
    assert seen == [width]


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "resnet26d"])
def test_stem_that_cannot_be_small_is_refused_when_calls_for(name: str) -> None:
    """``--model.stem small`` silently ignored."""
    assert build_backbone(name, image_side=32).stem_used == "standard"
    with pytest.raises(ConfigError, match=r"no small stem.*--model\.stem"):
        build_backbone(name, stem="small", image_side=32)


def test_vision_transformer_is_built_for_the_size_of_the_views() -> None:
    """A ViT that asserts 224 px in the first step, after the data was read."""
    backbone = build_backbone("vit_tiny_patch16_224", image_side=48).eval()
    assert backbone(_images(48)).shape == (2, 192)


@pytest.mark.parametrize("name", ["resnet18", "resnet10-narrow"])
def test_resnet_in_channels_last_gives_the_same_features(name: str) -> None:
    """A stage that falls back to the slow layout, or a reshape that mixes channels."""
    backbone = build_backbone(name, image_side=32).eval()
    expected = backbone(_images())
    backbone = backbone.to(memory_format=torch.channels_last)
    layouts: list[bool] = []
    backbone.layer4.register_forward_hook(
        lambda _, __, output: layouts.append(
            output.is_contiguous(memory_format=torch.channels_last)
        )
    )
    got = backbone(_images().to(memory_format=torch.channels_last))
    assert layouts == [True]
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_backbone_with_equal_seeds_has_equal_weights() -> None:
    """Weights that the measuring pass, or the replaced stem, draws from elsewhere."""
    states = []
    for _ in range(2):
        torch.manual_seed(7)
        states.append(build_backbone("resnet10-narrow", image_side=32).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert int(states[0]["bn1.num_batches_tracked"]) == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet81", "did you mean 'resnet18'"),
        ("qqqqqq", "known: resnet10-narrow, resnet10-tiny, resnet18"),
        ("", "known: resnet10-narrow"),
        ("no_such_module:build", "cannot import 'no_such_module'"),
        ("os:getcwdd", "did you mean 'getcwd'"),
        ("os:getcwd", "returned a str"),
    ],
)
def test_backbone_that_is_unknown_is_refused_in_one_line(name: str, message: str) -> None:
    """A traceback, or a list of timm's thousand names, for a typing slip."""
    with pytest.raises(ConfigError, match=message) as caught:
        build_backbone(name)
    text = str(caught.value)
    assert "--model.backbone" in text
    assert "\n" not in text
    assert len(text) < 400


def test_backbone_with_an_unknown_stem_is_refused() -> None:
    """Guards against a misspelt stem that becomes the standard one."""
    with pytest.raises(ConfigError, match=r"--model\.stem is 'smal': did you mean 'small'"):
        build_backbone("resnet10-narrow", stem="smal")


_USERS_MODULE = """
import torch
from torch import nn

class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.linear = nn.Linear(3, 5)

    @property
    def num_features(self):
        return 5

    def forward(self, images):
        return self.linear(self.norm(images).mean((2, 3)))

class Unpooled(Pooled):
    def forward(self, images):
        return images

class Failing(Pooled):
    def forward(self, images):
        raise RuntimeError("too small\\nfor me")
"""


@pytest.fixture
def users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder that holds a module of networks."""
    (tmp_path / "my_networks.py").write_text(_USERS_MODULE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_users_backbone_is_found_in_the_current_folder(users_folder: Path) -> None:
    """A console script does not see the folder it is called in; a property cannot be set."""
    backbone = build_backbone("my_networks:Pooled", image_side=8)
    assert (backbone.num_features, backbone.stem_used) == (5, "standard")
    assert int(backbone.norm.num_batches_tracked) == 0, "measured in eval mode"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Unpooled", r"gives \(2, 3, 8, 8\).*\(2, D\) are wanted"),
        (
            "Failing",
            r"fails on images of 8 px: RuntimeError: too small, .*my_networks\.py, line 24 ",
        ),
    ],
)
def test_users_backbone_without_pooled_output_is_refused(
    users_folder: Path, name: str, message: str
) -> None:
    """A shape error deep inside the projector."""
    with pytest.raises(ConfigError, match=message):
        build_backbone(f"my_networks:{name}", image_side=8)


def test_timm_is_never_calls_for_pretrained_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Supervised weights under a self-supervised result."""
    calls: list[bool] = []
    create = timm.create_model

    def record(name: str, *, pretrained: bool, **options: object) -> nn.Module:
        calls.append(pretrained)
        return create(name, pretrained=pretrained, **options)

    monkeypatch.setattr(timm, "create_model", record)
    build_backbone("convnext_atto", image_side=32)
    assert calls == [False]


def test_seeded_backbone_repeats_its_weights_and_leaves_the_generator_behind_them() -> None:
    """Guards a run's start: the baseline of an evaluation, and the heads that are drawn next."""
    states, after = [], []
    for _ in range(2):
        torch.rand(3)
        network = seeded_backbone("resnet10-tiny", stem="small", image_side=32, seed=4)
        states.append(network.state_dict())
        after.append(torch.rand(3))
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert torch.equal(after[0], after[1])
    torch.manual_seed(4)
    plain = build_backbone("resnet10-tiny", stem="small", image_side=32)
    assert torch.equal(plain.state_dict()["conv1.weight"], states[0]["conv1.weight"])
    assert states[0]["layer2.0.conv1.weight"].is_contiguous(memory_format=torch.channels_last)
