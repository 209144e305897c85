"""Object detection and instance segmentation: Faster and Mask R-CNN fine-tuned from a backbone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from massrl.config.evaluation import DetectConfig, EvaluateConfig
from massrl.data.annotated import ObjectSource, Scene
from massrl.errors import DataError, counted
from massrl.evaluation.average_precision import AveragePrecision
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.detectors import build_detector
from massrl.evaluation.object_batches import SMALL_IMAGE, fitting_side, flipped_batches, num_batches
from massrl.evaluation.overlays import detection_sheet
from massrl.evaluation.sgd import SgdSchedule, train_sgd
from massrl.evaluation.stages import Stages, seeded
from massrl.evaluation.task import Task, TaskResult
from massrl.files import drawn_again
from massrl.images.pictures import save_picture

_WEIGHT_DECAY = 1e-4
_REFERENCE_BATCH_SIZE = 16  # the published learning rate belongs to it
_WARMUP_STEPS = 100
# Fractions of the training at which the learning rate drops tenfold: 60,000 and 80,000 of 90,000 steps.
_DROPS = (2 / 3, 8 / 9)
_SIDE = 800  # pixels


@dataclass(frozen=True, kw_only=True)
class DetectionResult:
    """How well objects are detected.

    Attributes:
        metrics: COCO's metrics in percent: ``ap``, ``ap50``, ``ap75``, and ``mask_ap`` … where there are
            masks; ``None`` where there is no object to find.
        shown: the first test images, each with its detections: boxes, labels, scores.
    """

    metrics: dict[str, float | None]
    shown: list[tuple[Scene, dict[str, np.ndarray]]]


def detect(context: EvaluationContext, config: DetectConfig, *, seed: int) -> DetectionResult:
    """Fine-tune a detector on the training images and evaluate it on the test images.

    Mask R-CNN where both parts have masks, else Faster R-CNN; SGD with momentum, the learning rate dropped
    twice, images flipped half the time, batch norm in training mode.

    Args:
        context: the backbone, which stays unchanged since a copy is trained, and images with objects.
        config: head, length, learning rate and image size, which must be set.
        seed: of new weights, of the order of images and of their flips.

    Raises:
        ConfigError: if the backbone has no stages, or a package is missing.
        DataError: if the training or the test images are known to have no objects.
        TrainingError: if the loss is not finite.

    Source: He et al., arXiv 1911.05722 (MoCo), section 4.2, for the protocol; arXiv 1703.06870.
    """
    train, test = context.objects
    check_objects(train, "to train on", flag="--data.train")
    check_objects(test, "to find", flag="--data.val")
    masks = train.has_masks and test.has_masks
    with seeded(seed):
        detector = build_detector(
            context.network,
            num_classes=len(train.object_names),
            config=config,
            normalization=context.normalization,
            masks=masks,
        ).to(context.device)
        _fine_tune(detector, context, config, seed=seed)
    return _evaluate(detector, context, pictures=config.pictures, masks=masks)


def check_objects(source: ObjectSource, purpose: str, *, flag: str) -> None:
    """Refuse images that are known to have no objects, before anything is trained.

    Raises:
        DataError: if none of them has one that is neither difficult nor a crowd.
    """
    counts = source.object_counts()
    if counts is not None and not counts.sum():
        raise DataError(
            f"{source.name} has no objects {purpose} in its {counted(len(source), 'image')}, crowds and "
            f"difficult ones aside ({flag})"
        )


def _fine_tune(
    detector: nn.Module, context: EvaluationContext, config: DetectConfig, *, seed: int
) -> None:
    train, _ = context.objects
    batch_size = min(config.batch_size, len(train))
    total = num_batches(len(train), batch_size, epochs=config.epochs)

    def losses() -> Iterator[Tensor]:
        detector.train()
        for batch in flipped_batches(len(train), batch_size, total=total, seed=seed):
            pairs = [
                example(train.scene(index), flipped=flipped, device=context.device)
                for index, flipped in batch
            ]
            images, targets = zip(*pairs, strict=True)
            parts = detector(list(images), list(targets))
            yield torch.stack(list(parts.values())).sum()

    train_sgd(
        [item for item in detector.parameters() if item.requires_grad],
        losses(),
        SgdSchedule(
            lr=config.lr * batch_size / _REFERENCE_BATCH_SIZE,
            factor=partial(stepped_factor, total_steps=total),
            total_steps=total,
            weight_decay=_WEIGHT_DECAY,
        ),
        name="detector",
        flag="--detect.lr",
        progress=context.progress,
    )
    detector.eval()


def stepped_factor(step: int, *, total_steps: int) -> float:
    """Return the fraction of the peak learning rate: a linear warm-up, then two tenfold drops."""
    warmup = min(1.0, (step + 1) / min(_WARMUP_STEPS, max(1, total_steps // 10)))
    drops = sum(step >= fraction * total_steps for fraction in _DROPS)
    return float(warmup * 0.1**drops)


def example(
    scene: Scene, *, flipped: bool, device: torch.device
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return an image and its objects in the form that torchvision's detectors take.

    Crowds and difficult objects are left out.

    Returns:
        Float32 ``(3, H, W)`` in [0, 1]; ``boxes``, ``labels`` from 1, and ``masks`` where there are any.
    """
    used = ~scene.crowd if scene.difficult is None else ~(scene.crowd | scene.difficult)
    image, boxes = scene.image, scene.boxes[used].copy()
    masks = None if scene.masks is None else scene.masks[used]
    if flipped:
        image = image[:, ::-1]
        boxes[:, [0, 2]] = image.shape[1] - boxes[:, [2, 0]]
        masks = None if masks is None else masks[:, :, ::-1]
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1)
    target = {
        "boxes": torch.from_numpy(boxes).to(device),
        "labels": torch.from_numpy(scene.labels[used] + 1).to(device),
    }
    if masks is not None:
        target["masks"] = torch.from_numpy(np.ascontiguousarray(masks, np.uint8)).to(device)
    return pixels.float() / 255, target


@torch.inference_mode()
def _evaluate(
    detector: nn.Module, context: EvaluationContext, *, pictures: int, masks: bool
) -> DetectionResult:
    _, test = context.objects
    precision = AveragePrecision(masks=masks)
    shown: list[tuple[Scene, dict[str, np.ndarray]]] = []
    for index in range(len(test)):
        scene = test.scene(index)
        image, _ = example(scene, flipped=False, device=context.device)
        (found,) = detector([image])
        precision.add(found, scene)
        if len(shown) < pictures:
            shown.append(
                (scene, {key: found[key].cpu().numpy() for key in ("boxes", "labels", "scores")})
            )
        context.progress("detections", index + 1, len(test))
    return DetectionResult(metrics=precision.metrics(), shown=shown)


class Detection(Task):
    """Object detection by Faster or Mask R-CNN, fine-tuned from the backbone."""

    title = "object detection"
    needs = "objects"
    settings = ("detect", "seed")
    headline = ("ap", "ap50", "ap75", "mask_ap", "mask_ap50", "mask_ap75")
    frozen = False
    caption = "the ground truth on the left, detections with a score of at least 0.5 on the right"
    files = (".png",)

    def check(self, network: nn.Module) -> None:
        """Refuse a backbone without stages."""
        Stages(network)

    def run(self, context: EvaluationContext, config: EvaluateConfig) -> Iterator[TaskResult]:
        """Fine-tune a detector, evaluate it and draw the first test images."""
        train, test = context.objects
        fitted = fit_to_images(config.detect, train)
        result = detect(context, fitted, seed=config.seed)
        settings = {name: getattr(fitted, name) for name in ("head", "size", "width", "regions")}
        path = context.output(self.name, ".png")
        if path is not None and result.shown:
            with drawn_again(path.name):
                save_picture(
                    detection_sheet(result.shown, train.object_names), path, command="evaluate"
                )
                settings["picture"] = path.name
        metrics = {**result.metrics, "num_images": len(test)}
        yield TaskResult(name=self.name, metrics=metrics, settings=settings)


def fit_to_images(config: DetectConfig, source: ObjectSource) -> DetectConfig:
    """Return the configuration with sizes that are not set chosen for the images."""
    small = source.typical_side < SMALL_IMAGE
    return replace(
        config,
        size=config.size or fitting_side(source, default=_SIDE),
        width=config.width or (64 if small else 256),
        regions=config.regions or (64 if small else 512),
    )
