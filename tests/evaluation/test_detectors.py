"""Detection networks: both heads hold the backbone's weights and predict what they are built for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from massrl.config.evaluation import DetectConfig
from massrl.data.source import IMAGENET_NORMALIZATION
from massrl.evaluation.detectors import build_detector
from massrl.models.backbones import build_backbone


def detector_of(network: nn.Module, head: str, *, masks: bool = True) -> Any:
    config = DetectConfig(head=head, size=32, width=16, regions=8)
    return build_detector(
        network,
        num_classes=10,
        config=config,
        normalization=IMAGENET_NORMALIZATION,
        masks=masks,
    )


@pytest.mark.parametrize("head", ["fpn", "c4"])
def test_detector_holds_the_weights_of_the_backbone(head: str) -> None:
    """Guards pre-trained weights against being left out."""
    network = build_backbone("resnet10-tiny", stem="small", image_side=32)
    own = list(detector_of(network, head).state_dict().values())
    for name, item in network.state_dict().items():
        assert any(item.shape == one.shape and torch.equal(item, one) for one in own), name


@pytest.mark.parametrize("head", ["fpn", "c4"])
@pytest.mark.parametrize("masks", [False, True])
def test_detector_predicts_boxes_and_masks_within_the_image(head: str, masks: bool) -> None:
    """Guards the heads' sizes and the number of classes, background included."""
    network = build_backbone("resnet10-tiny", stem="small", image_side=32)
    detector = detector_of(network, head, masks=masks).eval()
    detector.roi_heads.score_thresh = 0.0
    with torch.inference_mode():
        (found,) = detector([torch.rand(3, 40, 48)])
    assert set(found) == {"boxes", "labels", "scores", *(["masks"] if masks else [])}
    assert len(found["boxes"]) > 0
    assert bool((found["boxes"] >= 0).all())
    assert bool((found["boxes"] <= torch.tensor([48, 40, 48, 40])).all())
    assert {1 <= label <= 10 for label in found["labels"].tolist()} == {True}
    if masks:
        assert found["masks"].shape[1:] == (1, 40, 48)
    assert detector.transform.image_mean == list(IMAGENET_NORMALIZATION.mean)
