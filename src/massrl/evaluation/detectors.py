"""Detection networks on a backbone: Faster R-CNN and Mask R-CNN, with FPN or on C4."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from massrl.config.evaluation import DetectConfig
from massrl.data.source import Normalization
from massrl.evaluation.stages import STAGES, Stages

_ANCHOR = 8.0  # side of a level's anchors, in strides of the level
_RATIOS = (0.5, 1.0, 2.0)


def build_detector(
    network: nn.Module,
    *,
    num_classes: int,
    config: DetectConfig,
    normalization: Normalization,
    masks: bool,
) -> nn.Module:
    """Build torchvision's Faster or Mask R-CNN on a copy of a backbone.

    Args:
        network: the backbone, a ResNet.
        num_classes: number of object classes, background excluded.
        config: ``head``, ``size``, ``width`` and ``regions``, all of them set.
        normalization: of the backbone's images.
        masks: whether masks are predicted too.
    """
    from torchvision.models.detection import FasterRCNN, MaskRCNN

    assert config.size is not None
    assert config.width is not None
    assert config.regions is not None
    stages, outputs = Stages(network), num_classes + 1
    if config.head == "fpn":
        parts = _pyramid(stages, outputs, width=config.width, masks=masks)
    else:
        parts = _single(stages, outputs, width=config.width, masks=masks)
    options: dict[str, Any] = {
        "min_size": config.size,
        "max_size": round(config.size * 1333 / 800),
        "image_mean": list(normalization.mean),
        "image_std": list(normalization.std),
        "box_batch_size_per_image": config.regions,
        "rpn_batch_size_per_image": config.regions // 2,
        "rpn_post_nms_top_n_train": 4 * config.regions,
        "rpn_post_nms_top_n_test": 2 * config.regions,
        **parts,
    }
    detector: nn.Module = (MaskRCNN if masks else FasterRCNN)(**options)
    return detector


def _pyramid(stages: Stages, num_outputs: int, *, width: int, masks: bool) -> dict[str, Any]:
    """Return a feature pyramid over all four stages and one level above, with the heads of its regions."""
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.backbone_utils import BackboneWithFPN
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
    from torchvision.ops import MultiScaleRoIAlign
    from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

    body = BackboneWithFPN(
        stages.network,
        {name: str(number) for number, name in enumerate(STAGES)},
        stages.channels,
        width,
        extra_blocks=LastLevelMaxPool(),
        norm_layer=nn.BatchNorm2d,
    )
    strides = [*stages.strides, 2 * stages.strides[-1]]
    sizes = tuple((int(_ANCHOR * stride),) for stride in strides)
    levels = [str(number) for number in range(len(STAGES))]
    parts: dict[str, Any] = {
        "backbone": body,
        "rpn_anchor_generator": AnchorGenerator(sizes, (_RATIOS,) * len(sizes)),
        "box_roi_pool": MultiScaleRoIAlign(levels, output_size=7, sampling_ratio=2),
        "box_head": TwoMLPHead(width * 7**2, 4 * width),
        "box_predictor": FastRCNNPredictor(4 * width, num_outputs),
    }
    if masks:
        parts |= {
            "mask_roi_pool": MultiScaleRoIAlign(levels, output_size=14, sampling_ratio=2),
            "mask_head": MaskRCNNHeads(width, (width,) * 4, 1),
            "mask_predictor": MaskRCNNPredictor(width, width, num_outputs),
        }
    return parts


class _LastStage(nn.Module):
    """The last stage, pooled over its pixels, as the head of every region."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, regions: Tensor) -> Tensor:
        """Map ``(R, C, 14, 14)`` to ``(R, D)``."""
        features: Tensor = self.layer(regions).mean(dim=(2, 3))
        return features


def _single(stages: Stages, num_outputs: int, *, width: int, masks: bool) -> dict[str, Any]:
    """Return the third stage as the only feature map, with the fourth as the head of every region (C4)."""
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
    from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor
    from torchvision.ops import MultiScaleRoIAlign

    layer4 = stages.network.get_submodule("layer4")
    body = nn.Sequential(stages.body(("layer3",)), _Select("layer3"))
    body.out_channels = stages.channels[2]  # type: ignore[assignment]
    sizes = tuple(int(stages.strides[2] * factor) for factor in (2, 4, 8, 16, 32))
    regions = MultiScaleRoIAlign(["0"], output_size=14, sampling_ratio=2)
    parts: dict[str, Any] = {
        "backbone": body,
        "rpn_anchor_generator": AnchorGenerator((sizes,), (_RATIOS,)),
        "box_roi_pool": regions,
        "box_head": _LastStage(layer4),
        "box_predictor": FastRCNNPredictor(stages.channels[3], num_outputs),
    }
    if masks:
        parts |= {
            "mask_roi_pool": regions,
            "mask_head": layer4,
            "mask_predictor": MaskRCNNPredictor(stages.channels[3], width, num_outputs),
        }
    return parts


class _Select(nn.Module):
    """Select one of several named outputs."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def forward(self, outputs: dict[str, Tensor]) -> Tensor:
        """Return the output of this name."""
        return outputs[self._name]
