"""Fine-tuning: the whole network learns on, with a classifier on top."""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from massrl.data.source import Source, Subset
from massrl.data.splits import holdout
from massrl.errors import ConfigError, TrainingError
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.sgd import cosine, train_sgd

_STEPS_AN_EPOCH = 12  # of 1 % of ImageNet in batches of 1,024, which the published rates belong to


_SMALLEST_BATCH = 16


_HELD = 0.2


_FEWEST_TO_DIVIDE = 5  # images; of fewer the first setting is taken

logger = logging.getLogger("massrl")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How a network is fine-tuned.

    Attributes:
        rate: peak learning rate; falls to zero by a cosine.
        epochs: passes over the images.
    """

    rate: float
    epochs: int


@dataclass(frozen=True, kw_only=True)
class FinetuneResult:
    """A fine-tuned network's word on the test images.

    Attributes:
        scores: float32 ``(n, num_classes)``, logits.
        setting: the one that was chosen.
        batch_size: images of a step.
        holdout_accuracy: percent on the held-out images, by setting; empty where there was no choice.
    """

    scores: Tensor
    setting: Setting
    batch_size: int
    holdout_accuracy: dict[Setting, float]


@dataclass(frozen=True, kw_only=True)
class TuningTarget:
    """What a classifier on top is to tell.

    Attributes:
        truth: int, for each image to learn from: its class ``(n,)``, or what ``loss`` and ``measure`` take.
        num_outputs: of the classifier.
        loss: from logits ``(B, num_outputs)`` and truth ``(B, …)`` to the mean loss.
        measure: from logits and truth to percent, by which settings are chosen.
    """

    truth: np.ndarray
    num_outputs: int
    loss: Callable[[Tensor, Tensor], Tensor]
    measure: Callable[[Tensor, np.ndarray], float]

    def of(self, indices: np.ndarray) -> TuningTarget:
        """The same for some of the images."""
        return replace(self, truth=self.truth[indices])


def single_label_target(source: Source, *, num_classes: int) -> TuningTarget:
    """The class of each image, by cross-entropy and accuracy."""
    assert source.labels is not None
    return TuningTarget(
        truth=source.labels, num_outputs=num_classes, loss=F.cross_entropy, measure=_accuracy
    )


def _accuracy(scores: Tensor, truth: np.ndarray) -> float:
    return float((scores.argmax(1) == torch.from_numpy(truth)).float().mean()) * 100


def finetune_and_predict(
    subject: EvaluationContext,
    source: Source,
    *,
    goal: TuningTarget | None = None,
    rates: Sequence[float],
    epochs: Sequence[int],
    most: int,
    seed: int,
    name: str,
) -> FinetuneResult:
    """Choose a setting on a held-out fifth of the images, train with it on all, predict the test images.

    Args:
        subject: the backbone, which stays as it is: a copy learns.
        source: images to learn from; all choices are made among these.
        goal: what is learnt; the class of each image otherwise.
        rates: peak learning rates to choose from; below five images the first is taken.
        epochs: numbers of epochs to choose from.
        most: images of a step at most; with few images there are fewer, for a dozen steps an epoch.
        seed: of the held-out images, crops and order.
        name: what progress calls it.
    """
    settings = [Setting(rate=r, epochs=e) for r, e in itertools.product(rates, epochs)]
    accuracy: dict[Setting, float] = {}
    goal = goal or single_label_target(source, num_classes=subject.num_classes)
    if len(settings) > 1 and len(source) >= _FEWEST_TO_DIVIDE:
        classes = goal.truth if goal.truth.ndim == 1 else None
        parts = holdout(classes, _HELD, seed=seed, total=len(source))
        for setting in settings:
            accuracy[setting] = _tried(
                subject, source, goal, parts, setting, most=most, seed=seed, name=name
            )
    best = max(settings, key=lambda setting: accuracy.get(setting, 0.0))  # the first of equals
    network = fine_tune(subject, source, best, goal=goal, most=most, seed=seed, name=name)
    return FinetuneResult(
        scores=subject.extract(network, subject.test).values,
        setting=best,
        batch_size=_batch_size(len(source), most),
        holdout_accuracy=accuracy,
    )


def _tried(
    subject: EvaluationContext,
    source: Source,
    goal: TuningTarget,
    parts: tuple[np.ndarray, np.ndarray],
    setting: Setting,
    *,
    most: int,
    seed: int,
    name: str,
) -> float:
    """Percent on held-out images; 0 of a rate at which the network is lost."""
    kept, held = parts
    learnt = Subset(source, kept)
    try:
        network = fine_tune(
            subject, learnt, setting, goal=goal.of(kept), most=most, seed=seed, name=name
        )
        scores = subject.extract(network, Subset(source, held)).values
    except TrainingError as error:
        logger.warning("%s, rate %g is no choice: %s", name, setting.rate, error)
        return 0.0
    return goal.measure(scores, goal.of(held).truth)


def fine_tune(
    subject: EvaluationContext,
    source: Source,
    setting: Setting,
    *,
    goal: TuningTarget | None = None,
    most: int,
    seed: int,
    name: str,
) -> nn.Module:
    """A copy of the backbone with a classifier on top, trained as a whole.

    SGD with Nesterov momentum and no weight decay; batch norm learns on too. The classifier begins at
    zero, so that its first gradients do not disturb the backbone.

    Returns:
        From normalised images to logits ``(B, num_outputs)`` of the goal.

    Raises:
        ConfigError: if there are fewer than two images.

    Source: BYOL, arXiv 2006.07733, appendix C.2.
    """
    goal = goal or single_label_target(source, num_classes=subject.num_classes)
    if len(source) < 2:
        raise ConfigError(f"{name}: {len(source)} image is too few to learn from")
    batch_size = _batch_size(len(source), most)
    truth = torch.from_numpy(goal.truth).to(subject.device)
    backbone = copy.deepcopy(subject.network).to(subject.device)
    head = nn.Linear(int(backbone.num_features), goal.num_outputs, device=subject.device)  # type: ignore
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    network = nn.Sequential(backbone, head)
    total = setting.epochs * (len(source) // batch_size)

    def losses() -> Iterator[Tensor]:
        network.train()
        for images, indices in subject.crops(
            source, batch_size=batch_size, epochs=setting.epochs, seed=seed
        ):
            yield goal.loss(network(images).float(), truth[indices.to(subject.device)])

    train_sgd(
        network.parameters(),
        losses(),
        rate=setting.rate,
        shape=cosine(total),
        total=total,
        nesterov=True,
        name=f"{name}, rate {setting.rate:g}",
        flag="learning rate",
        progress=subject.progress,
    )
    return network.eval()


def _batch_size(count: int, most: int) -> int:
    return min(most, count, max(_SMALLEST_BATCH, count // _STEPS_AN_EPOCH))


def tuned_settings(result: FinetuneResult) -> dict[str, Any]:
    """What was chosen, as ``results.json`` has it."""
    return {
        **asdict(result.setting),
        "batch_size": result.batch_size,
        "holdout_accuracy": {
            f"rate {item.rate:g}, {item.epochs} epochs": value
            for item, value in result.holdout_accuracy.items()
        },
    }
