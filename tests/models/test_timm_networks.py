"""Networks of timm: the same features and keys as in plain timm, and images of other sizes."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor

from massrl.models.timm_networks import (
    build_timm,
    has_fixed_size,
    patch_layer,
    takes_any_size,
    timm_patch,
    timm_side,
    with_fixed_size,
)

# One of each family with a fixed input size and a network small enough; patches counted from its name.
SEVERAL_SIZES = [
    ("vit_tiny_patch16_224", 16),
    ("deit_tiny_distilled_patch16_224", 16),
    ("deit3_small_patch16_224", 16),
    ("vit_small_patch14_reg4_dinov2", 14),
    ("eva02_tiny_patch14_224", 14),
    ("swin_tiny_patch4_window7_224", 4),
]
ONE_SIZE = ["mixer_s32_224", "cait_xxs24_224", "convit_tiny", "pit_ti_224"]


def images(side: int) -> Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "patch"), SEVERAL_SIZES)
def test_features_keys_and_gradients_are_those_of_plain_timm_at_the_same_size(
    name: str, patch: int
) -> None:
    """Guards saved backbones, both ways: old files in new networks, and new files in plain timm."""
    side = 4 * patch if patch > 4 else 56
    torch.manual_seed(0)
    ours = build_timm(name, image_side=side)
    torch.manual_seed(0)
    plain = timm.create_model(name, pretrained=False, num_classes=0, img_size=side)
    state = plain.state_dict()
    assert list(ours.state_dict()) == list(state)
    assert all(torch.equal(item, state[key]) for key, item in ours.state_dict().items())
    plain.load_state_dict(ours.state_dict(), strict=True)
    features = []
    for network in (ours.eval(), plain.eval()):
        output = network(images(side))
        output.square().mean().backward()
        features.append(output)
    assert torch.equal(*features)
    theirs = dict(plain.named_parameters())
    for key, parameter in ours.named_parameters():
        assert (parameter.grad is None) == (theirs[key].grad is None), key
        assert parameter.grad is None or torch.equal(parameter.grad, theirs[key].grad), key


@pytest.mark.parametrize(("name", "patch"), SEVERAL_SIZES)
def test_network_takes_images_of_other_multiples_of_its_patch(name: str, patch: int) -> None:
    """Guards local crops, which are views of another size in the same step."""
    assert takes_any_size(name)
    assert timm_patch(name) == patch
    side = 4 * patch if patch > 4 else 56
    network = build_timm(name, image_side=side).eval()
    for other in (side // 2, 2 * side):
        assert network(images(other)).shape == (2, network.num_features)


@pytest.mark.parametrize("name", ONE_SIZE)
def test_network_that_takes_one_size_is_built_for_it(name: str) -> None:
    """Guards the families without that option against an error about an argument that no one gave."""
    assert has_fixed_size(name)
    assert not takes_any_size(name)
    network = build_timm(name, image_side=64).eval()
    assert network(images(64)).shape == (2, network.num_features)
    assert with_fixed_size(network, name, image_side=64) is network


def test_network_for_a_side_that_is_no_multiple_is_built_as_before() -> None:
    """Guards files of version 0.1.0, whose ViTs dropped the last pixels without a word."""
    torch.manual_seed(0)
    ours = build_timm("vit_tiny_patch16_224", image_side=40).eval()
    torch.manual_seed(0)
    plain = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=40).eval()
    assert torch.equal(ours(images(40)), plain(images(40)))


def test_patches_are_those_that_a_convolution_cuts() -> None:
    """Guards against networks that overlap or pad their first convolution, which see every pixel."""
    patches = {
        name: timm_patch(name) for name in ("convnext_atto", "convmixer_768_32", "resnet26d")
    }
    assert patches == {"convnext_atto": 4, "convmixer_768_32": 7, "resnet26d": 1}
    assert timm_patch("no_such_network") == 1
    assert patch_layer(torch.nn.Conv2d(3, 4, 8, stride=8, padding=1)) is None
    assert patch_layer(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 8, stride=8))) is not None


def test_network_with_a_fixed_size_again_has_the_same_features() -> None:
    """Guards export: no interpolation of the position embedding in the file."""
    network = build_timm("vit_tiny_patch16_224", image_side=32).eval()
    before = torch.get_rng_state()
    fixed = with_fixed_size(network, "timm:vit_tiny_patch16_224", image_side=32)
    assert torch.equal(torch.get_rng_state(), before)
    assert not fixed.dynamic_img_size
    assert not fixed.training
    assert torch.equal(fixed(images(32)), network(images(32)))


def test_size_of_published_weights_is_known_for_networks_of_one_size() -> None:
    """Guards the hint of an import: sizes from the names."""
    names = ("vit_tiny_patch16_224", "timm:vit_tiny_patch16_384", "resnet26d", "mine:net", "")
    assert [timm_side(name) for name in names] == [224, 384, None, None, None]
