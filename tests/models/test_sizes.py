"""Sizes of views: what a backbone takes and sees, and which sizes are named instead."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from massrl.errors import ConfigError
from massrl.models.backbones import build_backbone
from massrl.models.sizes import (
    ViewSide,
    check_named_sides,
    check_sides,
    nearest_multiple,
    patch_side,
)

VIT = "vit_tiny_patch16_224"


def local(side: int, size: int = 64) -> ViewSide:
    return ViewSide(side, "--views.local_size", lambda other: f"{other / size:g}")


def refused(name: str, *sides: ViewSide) -> str:
    with pytest.raises(ConfigError) as caught:
        check_named_sides(name, sides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "sides"),
    [
        ("resnet18", [ViewSide(33), local(7)]),
        ("resnet10-tiny", [ViewSide(5)]),
        (VIT, [ViewSide(64), local(32), local(16)]),
        (f"timm:{VIT}", [ViewSide(224), local(96, 224)]),
        ("swin_tiny_patch4_window7_224", [ViewSide(64), local(28)]),
        ("mobilevit_xxs", [ViewSide(64), local(32)]),
        ("mixer_s32_224", [ViewSide(64)]),
        ("convnext_atto", [ViewSide(64), local(36)]),
        ("efficientnet_b0", [ViewSide(65), local(27)]),
    ],
)
def test_sizes_that_a_network_takes_are_accepted(name: str, sides: list[ViewSide]) -> None:
    """Guards against a check that refuses what trains."""
    before = torch.get_rng_state()
    check_named_sides(name, sides)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "sides", "told"),
    [
        (
            VIT,
            [ViewSide(70)],
            "patches of 16 px: of 70 px it would not see the last 6; --views.size "
            "64 or 80 are accepted",
        ),
        (VIT, [ViewSide(9)], "--views.size 16 is accepted"),
        (VIT, [ViewSide(100, "--size")], "--size 96 or 112 are accepted"),
        (
            VIT,
            [ViewSide(64), local(27)],
            "of 27 px it would not see the last 11; --views.local_size 0.25 "
            "(16 px) or 0.5 (32 px) are accepted",
        ),
        ("vit_small_patch14_dinov2", [ViewSide(32)], "--views.size 28 or 42 are"),
        ("convmixer_768_32", [ViewSide(32)], "--views.size 28 or 35 are"),
        ("convnext_atto", [ViewSide(34)], "see the last 2; --views.size 32 or 36 are"),
        ("convnext_atto", [ViewSide(31)], "--views.size 32 is accepted"),
        (
            "mixer_s32_224",
            [ViewSide(64), local(32)],
            "match model (64)., nor on others near it (--views.local_size, --model.backbone)",
        ),
        ("tresnet_m", [ViewSide(62)], "--views.size 56 or 64 are"),
    ],
)
def test_size_that_a_network_fails_on_or_does_not_see_is_refused_with_the_nearest(
    name: str, sides: list[ViewSide], told: str
) -> None:
    """Guards the first step of a run against timm's assertion, and pixels that nothing sees.

    The kind: patches that a side is no multiple of (ViT, DINOv2, ConvMixer, ConvNeXt), networks of one size
    (MLP-Mixer), and networks that rearrange pixels (TResNet). The nearest are counted by hand.
    """
    assert told in refused(name, *sides)


def test_pixels_beyond_the_last_patch_change_no_feature() -> None:
    """Guards the claim itself: the pixels that a message calls unseen, and only those, are."""
    network = build_backbone(VIT, image_side=70).eval()
    images = torch.randn(1, 3, 70, 70, generator=torch.Generator().manual_seed(0))
    changed = images.clone()
    changed[:, :, 64:] += 100.0
    changed[:, :, :, 64:] += 100.0
    assert torch.equal(network(changed), network(images))
    changed[:, :, 63] += 100.0
    assert not torch.equal(network(changed), network(images))


class Patches(nn.Module):
    """Cuts images into patches of 8 px, after it has padded them to whole ones, or not."""

    def __init__(self, *, pads: bool) -> None:
        super().__init__()
        self.cut, self.pads = nn.Conv2d(3, 4, 8, stride=8), pads

    def forward(self, images: Tensor) -> Tensor:
        """Return features ``(B, 4)``."""
        if self.pads:
            images = nn.functional.pad(images, (0, -images.shape[-1] % 8, 0, -images.shape[-2] % 8))
        return self.cut(images).mean((2, 3))


def test_network_that_pads_its_images_sees_all_of_them() -> None:
    """Guards a user's own network against a refusal by the look of its first layer."""
    check_sides(lambda _: Patches(pads=True), "mine:net", [ViewSide(20), local(10, 20)])
    with pytest.raises(ConfigError, match=r"see the last 4; --views.size 16 or 24"):
        check_sides(lambda _: Patches(pads=False), "mine:net", [ViewSide(20)])


def test_multiple_is_the_nearest_and_never_none() -> None:
    """Guards the size that is selected: hand-counted."""
    assert [nearest_multiple(side, 16) for side in (1, 23, 24, 27, 32)] == [16, 16, 32, 32, 32]
    assert nearest_multiple(27, 1) == 27


def test_patches_of_a_name_are_known_without_its_weights() -> None:
    """Guards start-up: a ResNet, and a user's own network, are not built for it."""
    names = (VIT, f"timm:{VIT}", "resnet18", "resnet10-tiny", "no_module:net")
    assert [patch_side(name) for name in names] == [16, 16, 1, 1, 1]
