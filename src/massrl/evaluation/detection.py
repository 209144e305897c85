"""Object detection and instance segmentation: Faster and Mask R-CNN fine-tuned from a backbone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from massrl.data.objects import ObjectSource, Scene
from massrl.data.sources import Normalization
from massrl.evaluate_options import DetectConfig
from massrl.evaluation.average_precision import AveragePrecision
from massrl.evaluation.dense import STAGES, Stages, seeded
from massrl.evaluation.descent import Progress, descend
from massrl.randomness import epoch_permutation

_WEIGHT_DECAY = 1e-4
_BATCH_OF_RATE = 16  # images; the published rate belongs to it
_WARMUP_STEPS = 100
# Shares of the run at which the rate falls to a tenth: 60,000 and 80,000 of 90,000 steps.
_DROPS = (2 / 3, 8 / 9)
_ANCHOR = 8.0  # side of a level's anchors, in its strides
_RATIOS = (0.5, 1.0, 2.0)


@dataclass(frozen=True, kw_only=True)
class DetectionResult:
    """How well objects are found.

    Attributes:
        figures: percent, as COCO defines them: ``ap``, ``ap50``, ``ap75``, and ``mask_ap`` … where masks are
            known.
        shown: first images, each with what was found in it: boxes, labels, scores.
    """

    figures: dict[str, float]
    shown: list[tuple[Scene, dict[str, np.ndarray]]]


def detect(
    network: nn.Module,
    train: ObjectSource,
    test: ObjectSource,
    config: DetectConfig,
    *,
    normalization: Normalization,
    device: torch.device,
    seed: int,
    progress: Progress,
) -> DetectionResult:
    """Fine-tune a detector on the one source and measure it on the other.

    Mask R-CNN where both sources know masks, else Faster R-CNN; SGD with momentum, the rate stepped down
    twice, images mirrored half the time, batch norm learning on.

    Args:
        network: the backbone, which stays as it is: a copy learns.
        train: images to learn from.
        test: images to be judged by, of the same classes.
        config: head, length, rate and size of images.
        normalization: of the backbone's images.
        device: where it is trained.
        seed: of new weights, of the order of images and of their mirroring.
        progress: called with what is done.

    Raises:
        ConfigError: if the backbone has no stages, or a package is missing.
        TrainingError: if the loss is no number.

    Source: He et al., arXiv 1911.05722 (MoCo), section 4.2, for the protocol; arXiv 1703.06870.
    """
    masks = train.has_masks and test.has_masks
    with seeded(seed):
        detector = build_detector(
            network,
            num_classes=len(train.object_names),
            config=config,
            normalization=normalization,
            masks=masks,
        ).to(device)
        _fine_tune(detector, train, config, device=device, seed=seed, progress=progress)
    return _measure(detector, test, config, masks=masks, device=device, progress=progress)


def build_detector(
    network: nn.Module,
    *,
    num_classes: int,
    config: DetectConfig,
    normalization: Normalization,
    masks: bool,
) -> nn.Module:
    """Torchvision's detector around a copy of a backbone.

    Args:
        network: a ResNet.
        num_classes: classes of objects; background is counted beside them.
        config: ``head`` and ``size``.
        normalization: of its images.
        masks: whether it finds masks too.
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
    """A feature pyramid over all four stages and one level above them, and the heads of its regions."""
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
    """The last stage as the head of every region, pooled over its pixels."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, regions: Tensor) -> Tensor:
        """From ``(R, C, 14, 14)`` to ``(R, D)``."""
        features: Tensor = self.layer(regions).mean(dim=(2, 3))
        return features


def _single(stages: Stages, num_outputs: int, *, width: int, masks: bool) -> dict[str, Any]:
    """One map, of the third stage; the fourth is the head of every region, and of its mask (C4)."""
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
    from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor
    from torchvision.ops import MultiScaleRoIAlign

    layer4 = stages.network.get_submodule("layer4")
    body = nn.Sequential(stages.body(("layer3",)), _Only("layer3"))
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


class _Only(nn.Module):
    """One of several outputs."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def forward(self, outputs: dict[str, Tensor]) -> Tensor:
        """From outputs by name to the one."""
        return outputs[self._name]


def _fine_tune(
    detector: nn.Module,
    train: ObjectSource,
    config: DetectConfig,
    *,
    device: torch.device,
    seed: int,
    progress: Progress,
) -> None:
    batch_size = min(config.batch_size, len(train))
    per_epoch = len(train) // batch_size
    total = max(1, round(config.epochs * per_epoch))

    def losses() -> Iterator[Tensor]:
        detector.train()
        for step, indices in enumerate(_batches(len(train), batch_size, total=total, seed=seed)):
            mirrored = np.random.default_rng([seed, step]).random(len(indices)) < 0.5
            pairs = [
                example(train.scene(int(index)), mirrored=bool(flip), device=device)
                for index, flip in zip(indices, mirrored, strict=True)
            ]
            images, targets = zip(*pairs, strict=True)
            parts = detector(list(images), list(targets))
            yield torch.stack(list(parts.values())).sum()

    descend(
        [item for item in detector.parameters() if item.requires_grad],
        losses(),
        rate=config.lr * batch_size / _BATCH_OF_RATE,
        shape=partial(stepped_rate, total=total),
        total=total,
        weight_decay=_WEIGHT_DECAY,
        name="detect",
        flag="--detect.lr",
        progress=progress,
    )
    detector.eval()


def stepped_rate(step: int, *, total: int) -> float:
    """Share of the peak rate: a linear rise, then a tenth at each of two drops."""
    rise = min(1.0, (step + 1) / min(_WARMUP_STEPS, max(1, total // 10)))
    drops = sum(step >= share * total for share in _DROPS)
    return float(rise * 0.1**drops)


def _batches(count: int, batch_size: int, *, total: int, seed: int) -> Iterator[np.ndarray]:
    per_epoch = count // batch_size
    for step in range(total):
        order = epoch_permutation(seed, epoch=step // per_epoch, count=count)
        begin = step % per_epoch * batch_size
        yield order[begin : begin + batch_size]


def example(
    scene: Scene, *, mirrored: bool, device: torch.device
) -> tuple[Tensor, dict[str, Tensor]]:
    """An image and its objects as torchvision's detectors take them.

    Crowds and difficult objects are not learnt.

    Returns:
        Float32 ``(3, H, W)`` in [0, 1]; ``boxes``, ``labels`` from 1 up, and ``masks`` where they are known.
    """
    asked = ~scene.crowd if scene.difficult is None else ~(scene.crowd | scene.difficult)
    image, boxes = scene.image, scene.boxes[asked].copy()
    masks = None if scene.masks is None else scene.masks[asked]
    if mirrored:
        image = image[:, ::-1]
        boxes[:, [0, 2]] = image.shape[1] - boxes[:, [2, 0]]
        masks = None if masks is None else masks[:, :, ::-1]
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1)
    target = {
        "boxes": torch.from_numpy(boxes).to(device),
        "labels": torch.from_numpy(scene.labels[asked] + 1).to(device),
    }
    if masks is not None:
        target["masks"] = torch.from_numpy(np.ascontiguousarray(masks, np.uint8)).to(device)
    return pixels.float() / 255, target


@torch.inference_mode()
def _measure(
    detector: nn.Module,
    test: ObjectSource,
    config: DetectConfig,
    *,
    masks: bool,
    device: torch.device,
    progress: Progress,
) -> DetectionResult:
    precision = AveragePrecision(masks=masks)
    shown: list[tuple[Scene, dict[str, np.ndarray]]] = []
    for index in range(len(test)):
        scene = test.scene(index)
        image, _ = example(scene, mirrored=False, device=device)
        (found,) = detector([image])
        precision.add(found, scene)
        if len(shown) < config.pictures:
            shown.append(
                (scene, {key: found[key].cpu().numpy() for key in ("boxes", "labels", "scores")})
            )
        progress("detect, judging", index + 1, len(test))
    return DetectionResult(figures=precision.figures(), shown=shown)
