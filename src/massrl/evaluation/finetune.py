"""Fine-tuning: the whole network is trained, with a linear classifier on top."""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from massrl.data.source import Source, Subset
from massrl.data.splits import holdout
from massrl.errors import ConfigError, TrainingError
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.sgd import SgdSchedule, cosine, train_sgd

logger = logging.getLogger("massrl")

# Steps per epoch of 1 % of ImageNet in batches of 1,024, which the published rates belong to.
_MIN_STEPS_PER_EPOCH = 12
_MIN_BATCH_SIZE = 16
_HOLDOUT = 0.2
_MIN_IMAGES_TO_SPLIT = 5  # with fewer the first setting is taken


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How a network is fine-tuned.

    Attributes:
        lr: peak learning rate, which falls to zero by a cosine.
        epochs: passes over the images.
    """

    lr: float
    epochs: int


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Settings to select from, and what they have in common.

    Attributes:
        lrs: peak learning rates.
        epochs: numbers of epochs.
        max_batch_size: images per step at most; few images use fewer, for a dozen steps per epoch.
        seed: of held-out images, crops and order.
        name: of the training, for progress and errors.
    """

    lrs: Sequence[float]
    epochs: Sequence[int]
    max_batch_size: int
    seed: int
    name: str

    @property
    def settings(self) -> list[Setting]:
        """Every combination, in order."""
        return [Setting(lr=lr, epochs=n) for lr, n in itertools.product(self.lrs, self.epochs)]

    def batch_size(self, num_images: int) -> int:
        """Return the images per step for a training set of this size."""
        few = max(_MIN_BATCH_SIZE, num_images // _MIN_STEPS_PER_EPOCH)
        return min(self.max_batch_size, num_images, few)


@dataclass(frozen=True, kw_only=True)
class FinetuneResult:
    """Predictions of a fine-tuned network for the test images.

    Attributes:
        scores: float32 ``(n, num_outputs)``, logits.
        setting: the selected one.
        batch_size: images per step.
        holdout_accuracy: percent on the held-out images, by setting; empty where there was no choice.
    """

    scores: Tensor
    setting: Setting
    batch_size: int
    holdout_accuracy: dict[Setting, float]


@dataclass(frozen=True, kw_only=True)
class TuningTarget:
    """What the classifier is trained to predict.

    Attributes:
        truth: int, class ``(n,)`` of each training image, or whatever ``loss`` and ``measure`` take.
        num_outputs: of the classifier.
        loss: from logits ``(B, num_outputs)`` and truth ``(B, …)`` to the mean loss.
        measure: from logits and truth to percent, by which settings are selected.
    """

    truth: np.ndarray
    num_outputs: int
    loss: Callable[[Tensor, Tensor], Tensor]
    measure: Callable[[Tensor, np.ndarray], float]

    def subset(self, indices: np.ndarray) -> TuningTarget:
        """Return the same target for some of the images."""
        return replace(self, truth=self.truth[indices])


def single_label_target(source: Source, *, num_classes: int) -> TuningTarget:
    """Return the class of each image as the target, with cross-entropy and accuracy."""
    assert source.labels is not None
    return TuningTarget(
        truth=source.labels, num_outputs=num_classes, loss=F.cross_entropy, measure=_accuracy
    )


def _accuracy(scores: Tensor, truth: np.ndarray) -> float:
    return float((scores.argmax(1) == torch.from_numpy(truth)).float().mean()) * 100


def finetune_and_predict(
    context: EvaluationContext,
    source: Source,
    sweep: Sweep,
    *,
    target: TuningTarget | None = None,
) -> FinetuneResult:
    """Select a setting on a held-out fifth of the images, train with it on all, predict the test images.

    Args:
        context: the backbone, which stays unchanged since a copy is trained, and the test images.
        source: training images; with fewer than five the first setting is taken.
        sweep: settings to select from.
        target: what is predicted; the class of each image by default.
    """
    accuracy: dict[Setting, float] = {}
    target = target or single_label_target(source, num_classes=context.num_classes)
    if len(sweep.settings) > 1 and len(source) >= _MIN_IMAGES_TO_SPLIT:
        classes = target.truth if target.truth.ndim == 1 else None
        parts = holdout(classes, _HOLDOUT, seed=sweep.seed, total=len(source))
        for setting in sweep.settings:
            accuracy[setting] = _holdout_accuracy(
                context, source, setting, sweep, target=target, parts=parts
            )
    # The first of equals.
    best = max(sweep.settings, key=lambda setting: accuracy.get(setting, 0.0))
    network = fine_tune(context, source, best, sweep, target=target)
    return FinetuneResult(
        scores=context.extract(network, context.test).values,
        setting=best,
        batch_size=sweep.batch_size(len(source)),
        holdout_accuracy=accuracy,
    )


def _holdout_accuracy(
    context: EvaluationContext,
    source: Source,
    setting: Setting,
    sweep: Sweep,
    *,
    target: TuningTarget,
    parts: tuple[np.ndarray, np.ndarray],
) -> float:
    """Return percent on held-out images; 0 for a learning rate at which training diverges."""
    kept, held = parts
    try:
        network = fine_tune(
            context, Subset(source, kept), setting, sweep, target=target.subset(kept)
        )
        scores = context.extract(network, Subset(source, held)).values
    except TrainingError as error:
        logger.warning("%s, rate %g is not selected: %s", sweep.name, setting.lr, error)
        return 0.0
    return target.measure(scores, target.subset(held).truth)


def fine_tune(
    context: EvaluationContext,
    source: Source,
    setting: Setting,
    sweep: Sweep,
    *,
    target: TuningTarget | None = None,
) -> nn.Module:
    """Train a copy of the backbone with a linear classifier on top.

    SGD with Nesterov momentum and no weight decay; batch-norm statistics are updated too. The classifier
    starts at zero, so that its first gradients do not disturb the backbone.

    Args:
        context: the backbone, which stays unchanged.
        source: training images.
        setting: learning rate and epochs.
        sweep: batch size, seed and name.
        target: what is predicted; the class of each image by default.

    Returns:
        From normalised images to logits ``(B, num_outputs)`` of the target.

    Raises:
        ConfigError: if there are fewer than two images.

    Source: BYOL, arXiv 2006.07733, appendix C.2.
    """
    target = target or single_label_target(source, num_classes=context.num_classes)
    if len(source) < 2:
        raise ConfigError(f"{sweep.name}: {len(source)} image is too few to train on")
    batch_size = sweep.batch_size(len(source))
    truth = torch.from_numpy(target.truth).to(context.device)
    backbone = copy.deepcopy(context.network).to(context.device)
    head = nn.Linear(int(backbone.num_features), target.num_outputs, device=context.device)  # type: ignore
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    network = nn.Sequential(backbone, head)
    total_steps = setting.epochs * (len(source) // batch_size)

    def losses() -> Iterator[Tensor]:
        network.train()
        for images, indices in context.crops(
            source, batch_size=batch_size, epochs=setting.epochs, seed=sweep.seed
        ):
            yield target.loss(network(images).float(), truth[indices.to(context.device)])

    train_sgd(
        network.parameters(),
        losses(),
        SgdSchedule(
            lr=setting.lr, factor=cosine(total_steps), total_steps=total_steps, nesterov=True
        ),
        name=f"{sweep.name}, lr {setting.lr:g}",
        flag="learning rate",
        progress=context.progress,
    )
    return network.eval()


def tuned_settings(result: FinetuneResult) -> dict[str, Any]:
    """Return the selected settings, as ``results.json`` stores them."""
    return {
        "lr": result.setting.lr,
        "epochs": result.setting.epochs,
        "batch_size": result.batch_size,
        "holdout_accuracy": {
            f"lr {item.lr:g}, {item.epochs} epochs": value
            for item, value in result.holdout_accuracy.items()
        },
    }
