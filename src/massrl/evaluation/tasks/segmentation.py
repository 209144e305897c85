"""Semantic segmentation: a fully convolutional head on a backbone, fine-tuned as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from massrl.config.evaluation import EvaluateConfig, SegmentConfig
from massrl.data.annotated import IGNORED, ObjectSource
from massrl.errors import DataError
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.features import normalize_images
from massrl.evaluation.object_batches import fitting_side, flipped_batches, num_batches
from massrl.evaluation.overlays import segmentation_sheet
from massrl.evaluation.sgd import SgdSchedule, train_sgd
from massrl.evaluation.stages import Stages, seeded
from massrl.evaluation.task import Task, TaskResult
from massrl.files import drawn_again
from massrl.images.pictures import save_picture

_WEIGHT_DECAY = 1e-4
_REFERENCE_BATCH_SIZE = 16  # the learning rate belongs to it
_POWER = 0.9  # of the polynomial that the learning rate falls by
_MAX_STRIDE = 8  # pixels of the image per pixel of the head's input
_SIDE = 512  # pixels


@dataclass(frozen=True, kw_only=True)
class SegmentationResult:
    """How well pixels are classified.

    Attributes:
        metrics: percent: ``miou``, the mean intersection over union of the classes and the background;
            and ``pixel_accuracy``.
        per_class: intersection over union of each class; ``None`` where there are no such pixels.
        ignored_percent: test pixels that are ignored.
        shown: the first test images, each with its true and its predicted class per pixel.
    """

    metrics: dict[str, float | None]
    per_class: dict[str, float | None]
    ignored_percent: float
    shown: list[tuple[np.ndarray, np.ndarray, np.ndarray]]


def segment(context: EvaluationContext, config: SegmentConfig, *, seed: int) -> SegmentationResult:
    """Fine-tune a segmentation network on the training images and evaluate it on the test images.

    The last stages are dilated to a stride of eight pixels. Images are resized and flipped half the time;
    the learning rate falls by a polynomial. Test images are evaluated at their own size.

    Args:
        context: the backbone, which stays unchanged since a copy is trained, and images with class maps.
        config: head, length, learning rate and image size, which must be set.
        seed: of new weights, of dropout, of the order of images and of their flips.

    Raises:
        ConfigError: if the backbone has no stages.
        DataError: if there is a single training image, or masks with less than two classes.
        TrainingError: if the loss is not finite.

    Source: Long et al., arXiv 1411.4038; Chen et al., arXiv 1706.05587.
    """
    train, test = context.objects
    check_classes(train, flag="--data.train")
    check_classes(test, flag="--data.val")
    with seeded(seed):
        segmenter = build_segmenter(
            context.network, num_classes=1 + len(train.object_names), head=config.head
        )
        segmenter.to(context.device)
        _fine_tune(segmenter, context, config, seed=seed)
    return _evaluate(segmenter, context, config)


def check_classes(source: ObjectSource, *, flag: str) -> None:
    """Refuse masks that hold a single class, or nothing but ignored pixels; reads as few as it takes.

    Raises:
        DataError: if there are not two classes.
    """
    found: set[int] = set()
    for index in range(len(source)):
        found |= set(np.unique(source.label_map(index)).tolist()) - {IGNORED}
        if len(found) > 1:
            return
    names = ("background", *source.object_names)
    only = " and ".join([*(repr(names[label]) for label in found), f"ignored pixels ({IGNORED})"])
    raise DataError(
        f"the masks of {source.name} hold only {only}: there is nothing to tell apart ({flag})"
    )


def build_segmenter(network: nn.Module, *, num_classes: int, head: str) -> nn.Module:
    """Build one of torchvision's segmentation heads on a copy of a backbone.

    Args:
        network: the backbone, a ResNet.
        num_classes: number of classes, background included.
        head: ``fcn`` or ``deeplab``.

    Returns:
        From normalised images ``(B, 3, H, W)`` to logits ``(B, num_classes, H, W)``.
    """
    from torchvision.models.segmentation.deeplabv3 import DeepLabHead
    from torchvision.models.segmentation.fcn import FCNHead

    stages = Stages(network)
    dilation = 1
    for number in (2, 3):
        if stages.strides[number] > _MAX_STRIDE:
            dilation *= 2
            stages.refine(f"layer{number + 1}", dilation)
    make = FCNHead if head == "fcn" else DeepLabHead
    return _Segmenter(stages.body(("layer4",)), make(stages.channels[3], num_classes))


class _Segmenter(nn.Module):
    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of every pixel."""
        coarse = self.head(self.body(images)["layer4"])
        return F.interpolate(coarse, images.shape[2:], mode="bilinear", align_corners=False)


def _fine_tune(
    segmenter: nn.Module, context: EvaluationContext, config: SegmentConfig, *, seed: int
) -> None:
    train, _ = context.objects
    if len(train) < 2:
        raise DataError(f"{train.name} has {len(train)} image, which is too few to train on")
    batch_size = min(config.batch_size, len(train))
    total = num_batches(len(train), batch_size, epochs=config.epochs)

    def losses() -> Iterator[Tensor]:
        segmenter.train()
        for batch in flipped_batches(len(train), batch_size, total=total, seed=seed):
            images, maps = [], []
            for index, flipped in batch:
                image, labels = _resized(*_image_and_map(train, index), _side(config))
                images.append(image[:, ::-1] if flipped else image)
                maps.append(labels[:, ::-1] if flipped else labels)
            pixels = normalize_images(
                np.stack(images), context.normalization, device=context.device
            )
            truth = torch.from_numpy(np.stack(maps).astype(np.int64)).to(context.device)
            yield pixel_loss(segmenter(pixels), truth)

    train_sgd(
        segmenter.parameters(),
        losses(),
        SgdSchedule(
            lr=config.lr * batch_size / _REFERENCE_BATCH_SIZE,
            factor=lambda step: (1 - min(step, total) / total) ** _POWER,
            total_steps=total,
            weight_decay=_WEIGHT_DECAY,
        ),
        name="segmentation",
        flag="--segment.lr",
        progress=context.progress,
    )
    segmenter.eval()


def pixel_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the mean cross-entropy over the pixels that are not ignored; 0 where all are.

    Args:
        logits: ``(B, num_classes, H, W)``.
        truth: int64 ``(B, H, W)``, classes or ``IGNORED``.
    """
    if bool((truth == IGNORED).all()):
        return 0.0 * logits.sum()  # the mean over nothing is no number, and would end the run
    return F.cross_entropy(logits, truth, ignore_index=IGNORED)


def _image_and_map(source: ObjectSource, index: int) -> tuple[np.ndarray, np.ndarray]:
    return source.image(index), source.label_map(index)


def _side(config: SegmentConfig) -> int:
    assert config.size is not None
    return config.size


def _resized(image: np.ndarray, labels: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Resize an image and its class map to a square; classes are not interpolated."""
    shrinks = min(image.shape[:2]) > side
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = np.asarray(cv2.resize(image, (side, side), interpolation=how))
    return resized, np.asarray(cv2.resize(labels, (side, side), interpolation=cv2.INTER_NEAREST))


@torch.inference_mode()
def _evaluate(
    segmenter: nn.Module, context: EvaluationContext, config: SegmentConfig
) -> SegmentationResult:
    _, test = context.objects
    names = ("background", *test.object_names)
    counts, total = np.zeros((len(names), len(names)), np.int64), 0
    shown: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for index in range(len(test)):
        image, truth = _image_and_map(test, index)
        resized, _ = _resized(image, truth, _side(config))
        pixels = normalize_images(resized[None], context.normalization, device=context.device)
        logits = segmenter(pixels)
        logits = F.interpolate(logits, truth.shape, mode="bilinear", align_corners=False)
        predicted = logits[0].argmax(0).cpu().numpy().astype(np.uint8)
        counts += pixel_counts(truth, predicted, num_classes=len(names))
        total += truth.size
        if len(shown) < config.pictures:
            shown.append((image, truth, predicted))
        context.progress("segmentations", index + 1, len(test))
    metrics, per_class = union_metrics(counts, names)
    return SegmentationResult(
        metrics=metrics,
        per_class=per_class,
        ignored_percent=100.0 * float(1 - counts.sum() / total),
        shown=shown,
    )


def pixel_counts(truth: np.ndarray, predicted: np.ndarray, *, num_classes: int) -> np.ndarray:
    """Count pixels of each class (rows) by predicted class (columns), without ignored ones."""
    used = truth != IGNORED
    cells = truth[used].astype(np.int64) * num_classes + predicted[used]
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def union_metrics(
    counts: np.ndarray, names: tuple[str, ...]
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Return mean IoU, pixel accuracy and the IoU of each class, in percent.

    A class without true or predicted pixels does not count; ``None`` where nothing does.

    Args:
        counts: ``(K, K)``, pixels of each class by predicted class.
        names: of the K classes.
    """
    right = counts.diagonal()
    union = counts.sum(0) + counts.sum(1) - right
    per_class = {
        name: 100.0 * float(right[label] / union[label]) if union[label] else None
        for label, name in enumerate(names)
    }
    values = [value for value in per_class.values() if value is not None]
    return {
        "miou": sum(values) / len(values) if values else None,
        "pixel_accuracy": 100.0 * float(right.sum() / counts.sum()) if values else None,
    }, per_class


class Segmentation(Task):
    """Semantic segmentation by a fully convolutional head, fine-tuned together with the backbone."""

    title = "semantic segmentation"
    needs = "maps"
    settings = ("segment", "seed")
    headline = ("miou", "pixel_accuracy")
    frozen = False
    caption = "the image, the ground truth, and the prediction"
    files = (".png",)

    def check(self, network: nn.Module) -> None:
        """Refuse a backbone without stages."""
        Stages(network)

    def run(self, context: EvaluationContext, config: EvaluateConfig) -> Iterator[TaskResult]:
        """Fine-tune a segmentation network, evaluate it and draw the first test images."""
        train, test = context.objects
        size = config.segment.size or fitting_side(train, default=_SIDE)
        result = segment(context, replace(config.segment, size=size), seed=config.seed)
        settings: dict[str, Any] = {"size": size, "head": config.segment.head}
        path = context.output(self.name, ".png")
        if path is not None and result.shown:
            with drawn_again(path.name):
                save_picture(segmentation_sheet(result.shown), path, command="evaluate")
                settings["picture"] = path.name
        metrics = {
            **result.metrics,
            "per_class": result.per_class,
            "ignored_percent": result.ignored_percent,
            "num_images": len(test),
        }
        yield TaskResult(name=self.name, metrics=metrics, settings=settings)
