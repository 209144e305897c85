"""Backbones: from normalised images ``(B, 3, H, W)`` to pooled features ``(B, D)``.

A name is a torchvision ResNet, one of our own for CPUs (``resnet10-narrow``, ``resnet10-tiny``), any timm
model (``timm:NAME`` where torchvision has one of the same name), or the user's own ``module:function``.
Weights are always random; published ones are loaded by ``massrl.weights``.

The last batch norm of each residual block starts at a scale of 1, torchvision's default, in our networks
too. There is no ``zero_init_residual``, so that a name means one network.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from massrl.config.checks import choice
from massrl.config.choices import STEMS
from massrl.errors import ConfigError
from massrl.models.features import features_fault
from massrl.models.names import (
    NARROW_RESNETS,
    PREFIX,
    RESNETS,
    TORCHVISION_RESNETS,
    is_users_code,
)
from massrl.models.timm_networks import build_timm
from massrl.models.torchvision_import import import_torchvision
from massrl.models.users import naming_the_line, users_backbone

SMALL_STEM_BELOW = 64  # pixels: above CIFAR-10's and Tiny-ImageNet's crops, below STL-10's 96
_SMALL_STEMS = {"small": 1, "small-pad2": 2, "small-no-relu": 1}  # padding of the 3×3 convolution


def build_backbone(name: str, *, stem: str = "auto", image_side: int = 224) -> nn.Module:
    """Build a backbone with random weights from torch's global generator.

    Args:
        name: a torchvision ResNet (preferred to timm's of the same name), ``resnet10-narrow`` or
            ``resnet10-tiny``, any timm name, also as ``timm:NAME``, or ``module:function`` (called
            without arguments; modules in the current folder are found).
        stem: ``"standard"``; ``"small"``: a 3×3 convolution of stride 1 and no max-pooling (SimCLR,
            arXiv 2002.05709, appendix B.9; stride 2 for our own ResNets), for ResNets whose stem is a
            7×7 convolution and a max-pooling; ``"small-pad2"``: the same with a padding of 2, as in
            solo-learn; ``"small-no-relu"``: without the ReLU before the first block, as lightly's
            ResNetGenerator in an ``nn.Sequential``; ``"auto"``: small for these when ``image_side`` is
            below 64.
        image_side: side of the images it will be given, pixels.

    Returns:
        A module from float ``(B, 3, H, W)`` to pooled features ``(B, D)``, with the attributes
        ``num_features`` (D) and ``stem_used`` (never ``"auto"``). The keys of a torchvision ResNet's
        state are torchvision's, without ``fc``.

    Raises:
        ConfigError: if the name is unknown, the stem does not fit the backbone, or the module's
            output for images of this size is not ``(B, D)``.
    """
    if fault := choice(stem, STEMS, flag="--model.stem"):
        raise ConfigError(fault)
    if not is_users_code(name):
        import_torchvision()
    model: Any  # attributes of any kind are read from it and set on it
    if name in NARROW_RESNETS:
        model = NarrowResNet(NARROW_RESNETS[name])
    elif name in TORCHVISION_RESNETS:
        model = _torchvision_resnet(name)
    elif is_users_code(name):
        model = users_backbone(name)
    else:
        model = build_timm(name.removeprefix(PREFIX), image_side=image_side, others=RESNETS)
    model.stem_used = _choose_stem(model, name, stem=stem, image_side=image_side)
    if model.stem_used in _SMALL_STEMS:
        _make_stem_small(model, model.stem_used)
    num_features = _count_features(model, name, image_side=image_side)
    if getattr(model, "num_features", None) != num_features:  # a user's may be a property
        model.num_features = num_features
    backbone: nn.Module = model
    return backbone


class NarrowResNet(nn.Module):
    """A ResNet for CPUs, with one narrow basic block per stage.

    ``resnet10-narrow`` has 1.2 million parameters, ``resnet10-tiny`` 0.3 million. Their small stem has
    stride 2: at 32 px that costs a quarter of stride 1, and training on four times as many images per
    second gives better features per second on a CPU.

    Args:
        widths: channels of the four stages; the last is the number of features.
    """

    small_stem_stride = 2

    def __init__(self, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        first, *_, self.num_features = widths
        self.conv1 = nn.Conv2d(3, first, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _basic_stage(first, widths[0], stride=1)
        self.layer2 = _basic_stage(widths[0], widths[1], stride=2)
        self.layer3 = _basic_stage(widths[1], widths[2], stride=2)
        self.layer4 = _basic_stage(widths[2], widths[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                _initialise(module)

    def forward(self, images: Tensor) -> Tensor:
        """Return features ``(B, D)`` of float images ``(B, 3, H, W)``."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return torch.flatten(self.avgpool(x), 1)


def _basic_stage(in_channels: int, channels: int, *, stride: int) -> nn.Sequential:
    from torchvision.models.resnet import BasicBlock

    shortcut = None
    if stride != 1 or in_channels != channels:
        convolution = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)
        shortcut = nn.Sequential(convolution, nn.BatchNorm2d(channels))
    return nn.Sequential(BasicBlock(in_channels, channels, stride, shortcut))


def _initialise(convolution: nn.Conv2d) -> None:
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")


def _torchvision_resnet(name: str) -> nn.Module:
    from torchvision.models import get_model

    model = get_model(name, weights=None)
    model.fc = nn.Identity()
    backbone: nn.Module = model
    return backbone


def _choose_stem(model: Any, name: str, *, stem: str, image_side: int) -> str:
    """Return the stem to use; a user's own network is never changed."""
    convolution = getattr(model, "conv1", None)
    changeable = (
        not is_users_code(name)
        and isinstance(convolution, nn.Conv2d)
        and convolution.kernel_size == (7, 7)
        and isinstance(getattr(model, "maxpool", None), nn.Module)
    )
    if stem in _SMALL_STEMS and not changeable:
        raise ConfigError(
            f"backbone {name!r} has no small stem: only ResNets that begin with a 7x7 convolution "
            "and a max-pooling have one; auto and standard are accepted (--model.stem)"
        )
    if stem == "auto":
        return "small" if changeable and image_side < SMALL_STEM_BELOW else "standard"
    return stem


def _make_stem_small(model: Any, stem: str) -> None:
    old, padding = model.conv1, _SMALL_STEMS[stem]
    stride = getattr(model, "small_stem_stride", 1)
    model.conv1 = nn.Conv2d(
        old.in_channels, old.out_channels, 3, stride=stride, padding=padding, bias=False
    )
    _initialise(model.conv1)
    model.maxpool = nn.Identity()
    if stem == "small-no-relu":  # torchvision's and ours have `relu`, timm's `act1`
        setattr(model, "relu" if hasattr(model, "relu") else "act1", nn.Identity())


def _count_features(model: nn.Module, name: str, *, image_side: int) -> int:
    """Measure the output: timm's ``num_features`` is not always its width."""
    was_training = model.training
    model.eval()
    try:
        with (
            torch.no_grad(),
            naming_the_line(
                name, f"fails on images of {image_side} px", "--model.backbone, --views.size"
            ),
        ):
            output = model(torch.zeros(2, 3, image_side, image_side))
    finally:
        model.train(was_training)
    fault = features_fault(output, count=2)
    if fault:
        raise ConfigError(
            f"backbone {name!r} {fault}, for two images of {image_side} px (--model.backbone)"
        )
    lazy = [key for key, item in model.named_parameters() if is_lazy(item)]
    if lazy:
        raise ConfigError(
            f"backbone {name!r} has a lazy parameter that no forward pass initialises: {lazy[0]} "
            "(--model.backbone)"
        )
    width: int = output.shape[1]
    return width


def seeded_backbone(name: str, *, stem: str, image_side: int, seed: int) -> nn.Module:
    """Build the backbone with the random weights that a run of this seed starts from.

    The weights are drawn from torch's global generator, which is left seeded: the heads are drawn after
    them. They are stored channels-last, as the views are, which is a third faster on a CPU too.

    Args:
        name: as for ``build_backbone``.
        stem: likewise.
        image_side: likewise.
        seed: of the weights.
    """
    torch.manual_seed(seed)
    backbone = build_backbone(name, stem=stem, image_side=image_side)
    return backbone.to(memory_format=torch.channels_last)
