"""The field's linear protocol: a classifier on the frozen backbone, trained on random crops.

All learning rates are tried in one pass: the backbone, which costs nearly all the time, runs once for a
batch, and a classifier of each rate learns from what it gives. Of every rate there are two: one never
sees the images that are held out to choose the rate by, the other sees all and is what the chosen rate
is reported with.
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
from massrl.evaluation.sgd import cosine, train_sgd
from massrl.evaluation.task import TaskResult, _by_text

_BATCH_OF_RATES = 1024  # images; the published rates belong to it


@dataclass(frozen=True, kw_only=True)
class SgdResult:
    """What the chosen classifier says of the test images.

    Attributes:
        scores: float32 ``(n, num_classes)``, logits.
        rate: the learning rate that was chosen, as it was asked for.
        batch_size: images of a step; where it is not 1,024 the rate in use is in proportion.
        holdout_accuracy: percent on the held-out training images, for each rate.
    """

    scores: Tensor
    rate: float
    batch_size: int
    holdout_accuracy: dict[float, float]


def linear_sgd(subject: EvaluationContext, config: SgdConfig, *, seed: int) -> SgdResult:
    """Train linear classifiers by SGD with Nesterov momentum, and choose among their learning rates.

    Rates fall to zero by a cosine; there is no weight decay, and the classifiers begin at zero.

    Args:
        subject: the backbone and its images.
        config: epochs, batch size, rates and held-out share.
        seed: of the held-out images, the crops and their order.

    Raises:
        ConfigError: if there are too few images to hold any out.

    Source: BYOL, arXiv 2006.07733, appendix C.1, which trains for 80 epochs.
    """
    labels = subject.train_features.labels
    kept, held = holdout(labels.numpy(), config.holdout, seed=seed)
    if len(np.unique(labels[kept])) < 2:
        raise ConfigError("linear-sgd: two classes or more are wanted to learn from (--data.train)")
    heads = _Heads(subject, config, seed=seed, held=torch.from_numpy(held))
    heads.train(seed=seed)
    accuracy = {
        rate: _accuracy(
            heads.scores(number, subject.train_features.values[held], whole=False), labels[held]
        )
        for number, rate in enumerate(config.lrs)
    }
    best = max(range(len(config.lrs)), key=lambda number: (accuracy[config.lrs[number]], -number))
    return SgdResult(
        scores=heads.scores(best, subject.test_features.values, whole=True),
        rate=config.lrs[best],
        batch_size=heads.batch_size,
        holdout_accuracy=accuracy,
    )


def _accuracy(scores: Tensor, labels: Tensor) -> float:
    return float((scores.argmax(1) == labels).float().mean()) * 100


class _Heads:
    """Two classifiers for each rate: of the images that are kept, and of all of them."""

    def __init__(
        self, subject: EvaluationContext, config: SgdConfig, *, seed: int, held: Tensor
    ) -> None:
        self._subject, self._config = subject, config
        self.batch_size = min(config.batch_size, len(subject.train))
        self._is_held = torch.zeros(len(subject.train), dtype=torch.bool)
        self._is_held[held] = True
        size = subject.train_features.values.shape[1], subject.num_classes
        shapes = [size, size[1:]] * 2
        self._heads = [
            [nn.Parameter(torch.zeros(shape, device=subject.device)) for shape in shapes]
            for _ in config.lrs
        ]

    def train(self, *, seed: int) -> None:
        subject, config = self._subject, self._config
        scale = self.batch_size / _BATCH_OF_RATES
        total = config.epochs * (len(subject.train) // self.batch_size)
        with frozen(subject.network):
            train_sgd(
                [
                    {"params": head, "lr": rate * scale}
                    for head, rate in zip(self._heads, config.lrs, strict=True)
                ],
                self._losses(seed),
                rate=0.0,
                shape=cosine(total),
                total=total,
                nesterov=True,
                name="linear-sgd",
                flag="--sgd.lrs",
                progress=subject.progress,
            )

    def _losses(self, seed: int) -> Iterator[Tensor]:
        subject, config = self._subject, self._config
        for images, indices in subject.crops(
            subject.train, batch_size=self.batch_size, epochs=config.epochs, seed=seed
        ):
            with torch.no_grad():
                features = subject.network(images).float()
            yield self._loss(features, indices)

    def _loss(self, features: Tensor, indices: Tensor) -> Tensor:
        labels = self._subject.train_features.labels[indices].to(features.device)
        kept = ~self._is_held[indices].to(features.device)
        share = kept / kept.sum().clamp(min=1)
        loss = torch.zeros((), device=features.device)
        for weight, bias, whole_weight, whole_bias in self._heads:
            chooses = F.cross_entropy(features @ weight + bias, labels, reduction="none")
            whole = F.cross_entropy(features @ whole_weight + whole_bias, labels)
            loss = loss + (chooses * share).sum() + whole
        return loss

    @torch.no_grad()
    def scores(self, number: int, features: Tensor, *, whole: bool) -> Tensor:
        """Logits ``(n, num_classes)`` of features ``(n, D)``, on the CPU."""
        weight, bias = (item.cpu() for item in self._heads[number][2 * whole : 2 * whole + 2])
        return features @ weight + bias


def _linear_sgd(subject: EvaluationContext, config: EvaluateConfig) -> Iterator[TaskResult]:
    result = linear_sgd(subject, config.sgd, seed=config.seed)
    chosen = {
        "rate": result.rate,
        "epochs": config.sgd.epochs,
        "batch_size": result.batch_size,
        "holdout_accuracy": _by_text(result.holdout_accuracy),
    }
    yield TaskResult("linear-sgd", result.scores, chosen)
