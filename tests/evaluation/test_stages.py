"""Stages of a ResNet: their channels, strides and resolutions."""

from __future__ import annotations

import pytest
import torch
from tests.evaluation.conftest import Backbone

from massrl.errors import ConfigError
from massrl.evaluation.stages import Stages, seeded
from massrl.models.backbones import build_backbone


@pytest.mark.parametrize("stem", ["small", "small-pad2"])
def test_strides_of_small_stems_are_whole_numbers(stem: str) -> None:
    """Guards anchors: padding makes outputs a pixel larger than the stride says."""
    assert Stages(build_backbone("resnet18", stem=stem, image_side=32)).strides == [1, 2, 4, 8]


@pytest.mark.parametrize("name", ["resnet10-narrow", "resnet18", "timm:resnet18"])
def test_channels_and_strides_are_those_of_the_outputs(name: str) -> None:
    """Guards pyramids and anchors: they are built from these numbers."""
    network = build_backbone(name, stem="standard", image_side=64)
    stages = Stages(network)
    widths = [32, 64, 128, 256] if "narrow" in name else [64, 128, 256, 512]
    assert (stages.channels, stages.strides) == (widths, [4, 8, 16, 32])
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        last = stages.body(("layer4",)).eval()(images)["layer4"]
        torch.testing.assert_close(last.mean(dim=(2, 3)), network.eval()(images))


def test_refined_stage_has_the_same_weights_and_receptive_field() -> None:
    """Guards dilation: four times the outputs, each of what the coarse one saw at its place."""
    stages = Stages(build_backbone("resnet10-narrow", stem="standard"))
    images = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        coarse = stages.body(("layer4",)).eval()(images)["layer4"]
        stages.refine("layer4", 2)
        fine = stages.body(("layer4",)).eval()(images)["layer4"]
    assert fine.shape[2:] == (8, 8)
    torch.testing.assert_close(fine[:, :, 2:6:2, 2:6:2], coarse[:, :, 1:3, 1:3])


def test_backbone_without_stages_is_refused() -> None:
    """Guards against a detector on whatever a network's children happen to be."""
    with pytest.raises(ConfigError, match="no stages layer1 to layer4"):
        Stages(Backbone())


def test_network_is_copied() -> None:
    """Guards a backbone against the changes that a task makes to its stages."""
    network = build_backbone("resnet10-tiny", stem="small", image_side=32)
    stages = Stages(network)
    stages.refine("layer2", 2)
    strides = {module.stride for module in network.layer2.modules() if hasattr(module, "stride")}  # type: ignore[union-attr]
    assert (2, 2) in strides


def test_seed_holds_within_its_block_alone() -> None:
    """Guards what is drawn before and after: neither may depend on the other."""
    torch.manual_seed(5)
    first, second = torch.rand(1), torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), first)
    with seeded(3):
        inside = torch.rand(1)
    assert torch.equal(torch.rand(1), second)
    with seeded(3):
        assert torch.equal(torch.rand(1), inside)
