"""Fine-tuning: the whole network learns on, with a classifier on top."""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from massrl.data.sources import Source, Subset
from massrl.data.splits import holdout
from massrl.errors import ConfigError, TrainingError
from massrl.evaluation.descent import cosine, descend
from massrl.evaluation.subject import Subject

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


def tune_and_predict(
    subject: Subject,
    source: Source,
    *,
    rates: Sequence[float],
    epochs: Sequence[int],
    most: int,
    seed: int,
    name: str,
) -> FinetuneResult:
    """Choose a setting on a held-out fifth of the images, train with it on all, predict the test images.

    Args:
        subject: the backbone, which stays as it is: a copy learns.
        source: labelled images to learn from; all choices are made among these.
        rates: peak learning rates to choose from; below five images the first is taken.
        epochs: numbers of epochs to choose from.
        most: images of a step at most; with few images there are fewer, for a dozen steps an epoch.
        seed: of the held-out images, crops and order.
        name: what progress calls it.
    """
    settings = [Setting(rate=r, epochs=e) for r, e in itertools.product(rates, epochs)]
    accuracy: dict[Setting, float] = {}
    labels = source.labels
    assert labels is not None
    if len(settings) > 1 and len(source) >= _FEWEST_TO_DIVIDE:
        kept, held = (Subset(source, part) for part in holdout(labels, _HELD, seed=seed))
        for setting in settings:
            accuracy[setting] = _tried(
                subject, kept, held, setting, most=most, seed=seed, name=name
            )
    best = max(settings, key=lambda setting: accuracy.get(setting, 0.0))  # the first of equals
    network = fine_tune(subject, source, best, most=most, seed=seed, name=name)
    return FinetuneResult(
        scores=subject.extract(network, subject.test).values,
        setting=best,
        batch_size=_batch_size(len(source), most),
        holdout_accuracy=accuracy,
    )


def _tried(
    subject: Subject,
    kept: Source,
    held: Source,
    setting: Setting,
    *,
    most: int,
    seed: int,
    name: str,
) -> float:
    """Percent on held-out images; 0 of a rate at which the network is lost."""
    assert held.labels is not None
    try:
        network = fine_tune(subject, kept, setting, most=most, seed=seed, name=name)
        scores = subject.extract(network, held).values
    except TrainingError as error:
        logger.warning("%s, rate %g is no choice: %s", name, setting.rate, error)
        return 0.0
    return float((scores.argmax(1) == torch.from_numpy(held.labels)).float().mean()) * 100


def fine_tune(
    subject: Subject, source: Source, setting: Setting, *, most: int, seed: int, name: str
) -> nn.Module:
    """A copy of the backbone with a classifier on top, trained as a whole.

    SGD with Nesterov momentum and no weight decay; batch norm learns on too. The classifier begins at
    zero, so that its first gradients do not disturb the backbone.

    Returns:
        From normalised images to logits ``(B, num_classes)``.

    Raises:
        ConfigError: if there are fewer than two images.

    Source: BYOL, arXiv 2006.07733, appendix C.2.
    """
    assert source.labels is not None
    if len(source) < 2:
        raise ConfigError(f"{name}: {len(source)} image is too few to learn from")
    batch_size = _batch_size(len(source), most)
    labels = torch.from_numpy(source.labels).to(subject.device)
    backbone = copy.deepcopy(subject.network).to(subject.device)
    head = nn.Linear(int(backbone.num_features), subject.num_classes, device=subject.device)  # type: ignore
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    network = nn.Sequential(backbone, head)
    total = setting.epochs * (len(source) // batch_size)

    def losses() -> Iterator[Tensor]:
        network.train()
        for images, indices in subject.crops(
            source, batch_size=batch_size, epochs=setting.epochs, seed=seed
        ):
            yield F.cross_entropy(network(images).float(), labels[indices.to(subject.device)])

    descend(
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
