"""Semantic segmentation: a fully convolutional head on a backbone, fine-tuned as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from massrl.config.evaluation import SegmentConfig
from massrl.data.annotated import IGNORED, ObjectSource
from massrl.data.source import Normalization
from massrl.errors import DataError
from massrl.evaluation.features import normalised
from massrl.evaluation.sgd import Progress, train_sgd
from massrl.evaluation.stages import Stages, seeded
from massrl.images.decode import decode
from massrl.randomness import epoch_permutation

_WEIGHT_DECAY = 1e-4
_BATCH_OF_RATE = 16  # images
_POWER = 0.9  # of the falling rate
_FINEST = 8  # pixels of the image for one of the head's input


@dataclass(frozen=True, kw_only=True)
class SegmentationResult:
    """How well pixels are told apart.

    Attributes:
        figures: percent: ``miou``, the mean over the classes of intersection over union, background among
            them; and ``pixel_accuracy``.
        per_class: intersection over union of each class; ``None`` where there are no such pixels.
        shown: first images, each with its truth and what was said, class by pixel.
    """

    figures: dict[str, float]
    per_class: dict[str, float | None]
    shown: list[tuple[np.ndarray, np.ndarray, np.ndarray]]


def segment(
    network: nn.Module,
    train: ObjectSource,
    test: ObjectSource,
    config: SegmentConfig,
    *,
    normalization: Normalization,
    device: torch.device,
    seed: int,
    progress: Progress,
) -> SegmentationResult:
    """Fine-tune on the one source and measure on the other.

    The last stages keep the resolution of one output for eight pixels, their filters dilated. Images are
    resized and mirrored half the time; the rate falls by a polynomial.

    Args:
        network: the backbone, which stays as it is: a copy learns.
        train: images to learn from.
        test: images to be judged by, at their own size, of the same classes.
        config: head, length, rate and size of images.
        normalization: of the backbone's images.
        device: where it is trained.
        seed: of new weights, of what drops out, of the order of images and of their mirroring.
        progress: called with what is done.

    Raises:
        ConfigError: if the backbone has no stages.
        DataError: if there is a single image to learn from.
        TrainingError: if the loss is no number.

    Source: Long et al., arXiv 1411.4038; Chen et al., arXiv 1706.05587.
    """
    with seeded(seed):
        segmenter = build_segmenter(
            network, num_classes=1 + len(train.object_names), head=config.head
        )
        segmenter.to(device)
        _fine_tune(
            segmenter,
            train,
            config,
            normalization=normalization,
            device=device,
            seed=seed,
            progress=progress,
        )
    return _measure(
        segmenter, test, config, normalization=normalization, device=device, progress=progress
    )


def build_segmenter(network: nn.Module, *, num_classes: int, head: str) -> nn.Module:
    """A copy of a backbone with a head of torchvision's on its last stage.

    Returns:
        From normalised images ``(B, 3, H, W)`` to logits ``(B, num_classes, H, W)``.
    """
    from torchvision.models.segmentation.deeplabv3 import DeepLabHead
    from torchvision.models.segmentation.fcn import FCNHead

    stages = Stages(network)
    dilation = 1
    for number in (2, 3):
        if stages.strides[number] > _FINEST:
            dilation *= 2
            stages.refine(f"layer{number + 1}", dilation)
    make = FCNHead if head == "fcn" else DeepLabHead
    return _Segmenter(stages.body(("layer4",)), make(stages.channels[3], num_classes))


class _Segmenter(nn.Module):
    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, images: Tensor) -> Tensor:
        """Logits of every pixel."""
        coarse = self.head(self.body(images)["layer4"])
        return F.interpolate(coarse, images.shape[2:], mode="bilinear", align_corners=False)


def _fine_tune(
    segmenter: nn.Module,
    train: ObjectSource,
    config: SegmentConfig,
    *,
    normalization: Normalization,
    device: torch.device,
    seed: int,
    progress: Progress,
) -> None:
    if len(train) < 2:
        raise DataError(f"{train.name} has {len(train)} image, which is too few to learn from")
    batch_size = min(config.batch_size, len(train))
    per_epoch = max(1, len(train) // batch_size)
    total = max(1, round(config.epochs * per_epoch))
    side = _side(config)

    def losses() -> Iterator[Tensor]:
        segmenter.train()
        for step in range(total):
            order = epoch_permutation(seed, epoch=step // per_epoch, count=len(train))
            begin = step % per_epoch * batch_size
            mirrored = np.random.default_rng([seed, step]).random(batch_size) < 0.5
            images, maps = [], []
            for index, flip in zip(order[begin : begin + batch_size], mirrored, strict=False):
                image, labels = _image(train, int(index)), train.label_map(int(index))
                image, labels = _square(image, labels, side)
                images.append(image[:, ::-1] if flip else image)
                maps.append(labels[:, ::-1] if flip else labels)
            pixels = normalised(np.stack(images), normalization, device=device)
            truth = torch.from_numpy(np.stack(maps).astype(np.int64)).to(device)
            yield F.cross_entropy(segmenter(pixels), truth, ignore_index=IGNORED)

    train_sgd(
        segmenter.parameters(),
        losses(),
        rate=config.lr * batch_size / _BATCH_OF_RATE,
        shape=lambda step: (1 - min(step, total) / total) ** _POWER,
        total=total,
        weight_decay=_WEIGHT_DECAY,
        name="segment",
        flag="--segment.lr",
        progress=progress,
    )
    segmenter.eval()


def _image(source: ObjectSource, index: int) -> np.ndarray:
    return decode(source.read(index), name=source.describe(index))


def _side(config: SegmentConfig) -> int:
    assert config.size is not None
    return config.size


def _square(image: np.ndarray, labels: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """An image and its map at one size; a map is never mixed of two classes."""
    shrinks = min(image.shape[:2]) > side
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = np.asarray(cv2.resize(image, (side, side), interpolation=how))
    return resized, np.asarray(cv2.resize(labels, (side, side), interpolation=cv2.INTER_NEAREST))


@torch.inference_mode()
def _measure(
    segmenter: nn.Module,
    test: ObjectSource,
    config: SegmentConfig,
    *,
    normalization: Normalization,
    device: torch.device,
    progress: Progress,
) -> SegmentationResult:
    names = ("background", *test.object_names)
    counts = np.zeros((len(names), len(names)), np.int64)
    shown: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for index in range(len(test)):
        image, truth = _image(test, index), test.label_map(index)
        resized, _ = _square(image, truth, _side(config))
        logits = segmenter(normalised(resized[None], normalization, device=device))
        logits = F.interpolate(logits, truth.shape, mode="bilinear", align_corners=False)
        said = logits[0].argmax(0).cpu().numpy().astype(np.uint8)
        counts += pixel_counts(truth, said, num_classes=len(names))
        if len(shown) < config.pictures:
            shown.append((image, truth, said))
        progress("segment, judging", index + 1, len(test))
    figures, per_class = union_figures(counts, names)
    return SegmentationResult(figures=figures, per_class=per_class, shown=shown)


def pixel_counts(truth: np.ndarray, said: np.ndarray, *, num_classes: int) -> np.ndarray:
    """Pixels of each class (rows) by the class they were taken for; ignored ones are left out."""
    asked = truth != IGNORED
    places = truth[asked].astype(np.int64) * num_classes + said[asked]
    return np.bincount(places, minlength=num_classes**2).reshape(num_classes, num_classes)


def union_figures(
    counts: np.ndarray, names: tuple[str, ...]
) -> tuple[dict[str, float], dict[str, float | None]]:
    """Figures in percent from the pixels of each class by the class they were taken for.

    A class without a pixel in truth and answer alike counts nowhere.
    """
    right = counts.diagonal()
    union = counts.sum(0) + counts.sum(1) - right
    per_class = {
        name: 100.0 * float(right[place] / union[place]) if union[place] else None
        for place, name in enumerate(names)
    }
    known = [value for value in per_class.values() if value is not None]
    figures = {
        "miou": sum(known) / max(1, len(known)),
        "pixel_accuracy": 100.0 * float(right.sum() / max(1, counts.sum())),
    }
    return figures, per_class
