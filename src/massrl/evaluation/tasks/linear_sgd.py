"""Linear evaluation by SGD: a classifier on the frozen backbone, trained on random crops.

All learning rates are tried in one pass: the backbone, which costs nearly all the time, runs once per
batch, and one classifier per learning rate is trained on its features. There are two classifiers per
learning rate: one is not trained on the held-out images, which the learning rate is selected on; the
other is trained on all images and predicts the test images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from massrl.config.evaluation import EvaluateConfig, SgdConfig
from massrl.data.splits import holdout
from massrl.errors import ConfigError
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.features import frozen
from massrl.evaluation.sgd import SgdSchedule, cosine, train_sgd
from massrl.evaluation.task import Task, TaskResult, classification_result, text_keys

_REFERENCE_BATCH_SIZE = 1024  # the published learning rates belong to it


@dataclass(frozen=True, kw_only=True)
class SgdResult:
    """Predictions of the selected classifier for the test images.

    Attributes:
        scores: float32 ``(n, num_classes)``, logits.
        lr: the selected learning rate, for a batch of 1,024 images.
        batch_size: images per step, which the learning rate in use is proportional to.
        holdout_accuracy: percent on the held-out training images, by learning rate.
    """

    scores: Tensor
    lr: float
    batch_size: int
    holdout_accuracy: dict[float, float]


def linear_sgd(context: EvaluationContext, config: SgdConfig, *, seed: int) -> SgdResult:
    """Train linear classifiers by SGD with Nesterov momentum, and select among their learning rates.

    Learning rates fall to zero by a cosine; there is no weight decay, and the classifiers start at zero.

    Args:
        context: the backbone and its images.
        config: epochs, batch size, learning rates and held-out fraction.
        seed: of the held-out images, the crops and their order.

    Raises:
        ConfigError: if there are too few images to hold any out.

    Source: BYOL, arXiv 2006.07733, appendix C.1, which trains for 80 epochs.
    """
    labels = context.train_features.labels
    kept, held = holdout(labels.numpy(), config.holdout, seed=seed)
    if len(np.unique(labels[kept])) < 2:
        raise ConfigError(
            "linear SGD: training images of two or more classes are wanted (--data.train)"
        )
    heads = _Heads(context, config, held=torch.from_numpy(held))
    heads.train(seed=seed)
    held_features = context.train_features.values[held]
    accuracy = {
        lr: _accuracy(heads.scores(number, held_features, final=False), labels[held])
        for number, lr in enumerate(config.lrs)
    }
    # The first of equals.
    best = max(range(len(config.lrs)), key=lambda number: (accuracy[config.lrs[number]], -number))
    return SgdResult(
        scores=heads.scores(best, context.test_features.values, final=True),
        lr=config.lrs[best],
        batch_size=heads.batch_size,
        holdout_accuracy=accuracy,
    )


def _accuracy(scores: Tensor, labels: Tensor) -> float:
    return float((scores.argmax(1) == labels).float().mean()) * 100


class _Heads:
    """Two classifiers per learning rate: without the held-out images, and with all of them."""

    def __init__(self, context: EvaluationContext, config: SgdConfig, *, held: Tensor) -> None:
        self._context, self._config = context, config
        self.batch_size = min(config.batch_size, len(context.train))
        self._is_held = torch.zeros(len(context.train), dtype=torch.bool)
        self._is_held[held] = True
        size = context.train_features.values.shape[1], context.num_classes
        shapes = [size, size[1:]] * 2
        self._heads = [
            [nn.Parameter(torch.zeros(shape, device=context.device)) for shape in shapes]
            for _ in config.lrs
        ]

    def train(self, *, seed: int) -> None:
        context, config = self._context, self._config
        scale = self.batch_size / _REFERENCE_BATCH_SIZE
        total_steps = config.epochs * (len(context.train) // self.batch_size)
        with frozen(context.network):
            train_sgd(
                [
                    {"params": head, "lr": lr * scale}
                    for head, lr in zip(self._heads, config.lrs, strict=True)
                ],
                self._losses(seed),
                SgdSchedule(
                    lr=0.0, factor=cosine(total_steps), total_steps=total_steps, nesterov=True
                ),
                name="linear classifiers",
                flag="--sgd.lrs",
                progress=context.progress,
            )

    def _losses(self, seed: int) -> Iterator[Tensor]:
        context, config = self._context, self._config
        for images, indices in context.crops(
            context.train, batch_size=self.batch_size, epochs=config.epochs, seed=seed
        ):
            with torch.no_grad():
                features = context.network(images).float()
            yield self._loss(features, indices)

    def _loss(self, features: Tensor, indices: Tensor) -> Tensor:
        labels = self._context.train_features.labels[indices].to(features.device)
        kept = ~self._is_held[indices].to(features.device)
        weights = kept / kept.sum().clamp(min=1)
        loss = torch.zeros((), device=features.device)
        for weight, bias, final_weight, final_bias in self._heads:
            each = F.cross_entropy(features @ weight + bias, labels, reduction="none")
            final = F.cross_entropy(features @ final_weight + final_bias, labels)
            loss = loss + (each * weights).sum() + final
        return loss

    @torch.no_grad()
    def scores(self, number: int, features: Tensor, *, final: bool) -> Tensor:
        """Return logits ``(n, num_classes)`` of features ``(n, D)``, on the CPU.

        Args:
            number: of the learning rate.
            features: float32, on the CPU.
            final: by the classifier that is trained on all images, or by that without the held-out ones.
        """
        weight, bias = (item.cpu() for item in self._heads[number][2 * final : 2 * final + 2])
        return features @ weight + bias


class LinearSgd(Task):
    """A linear classifier on the frozen backbone, trained on random crops."""

    title = "linear, trained on crops"
    settings = ("sgd", "seed")

    def run(self, context: EvaluationContext, config: EvaluateConfig) -> Iterator[TaskResult]:
        """Train the classifiers and classify the test images by the selected one."""
        result = linear_sgd(context, config.sgd, seed=config.seed)
        settings = {
            "lr": result.lr,
            "epochs": config.sgd.epochs,
            "batch_size": result.batch_size,
            "holdout_accuracy": text_keys(result.holdout_accuracy),
        }
        yield classification_result(context, self.name, result.scores, settings)
