"""Object detection and instance segmentation: Faster and Mask R-CNN fine-tuned from a backbone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from massrl.config.evaluation import DetectConfig
from massrl.data.annotated import ObjectSource, Scene
from massrl.data.source import Normalization
from massrl.evaluation.average_precision import AveragePrecision
from massrl.evaluation.detectors import build_detector
from massrl.evaluation.sgd import Progress, train_sgd
from massrl.evaluation.stages import seeded
from massrl.randomness import epoch_permutation

_WEIGHT_DECAY = 1e-4


_BATCH_OF_RATE = 16  # images; the published rate belongs to it


_WARMUP_STEPS = 100


# Shares of the run at which the rate falls to a tenth: 60,000 and 80,000 of 90,000 steps.
_DROPS = (2 / 3, 8 / 9)


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

    train_sgd(
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
