"""Metrics of classification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor

from massrl.errors import ConfigError

_MAX_CONFUSION_CLASSES = 100  # a larger table cannot be read


class Metrics(TypedDict):
    """Accuracies in percent.

    Attributes:
        acc1: images whose label has the best score.
        acc5: images whose label is among the five best; None below six classes.
        per_class: ``acc1`` of each class's images; None for a class without images.
        mean_per_class: mean of these over the classes with images.
        confusion: number of images of each class (rows) by predicted class (columns); None above a
            hundred classes.
        num_images: number of test images.
    """

    acc1: float
    acc5: float | None
    per_class: dict[str, float | None]
    mean_per_class: float
    confusion: list[list[int]] | None
    num_images: int


def classification_metrics(
    scores: Tensor, labels: Tensor, *, class_names: Sequence[str]
) -> Metrics:
    """Compute accuracies from class scores and labels.

    Of equal scores that of the lower class index ranks first, so that the result does not depend on
    how a device sorts.

    Args:
        scores: ``(n, num_classes)``, higher is better; ``-inf`` is allowed.
        labels: int64 ``(n,)``.
        class_names: one name per class.

    Raises:
        ConfigError: if shapes or labels do not fit, or a score is NaN.
    """
    num_classes = len(class_names)
    if scores.shape != (len(labels), num_classes) or not len(labels):
        raise ConfigError(
            f"scores are {tuple(scores.shape)}, but ({len(labels)}, {num_classes}) is wanted for "
            f"{len(labels)} labels and {num_classes} classes, and at least one image"
        )
    if int(labels.min()) < 0 or int(labels.max()) >= num_classes:
        raise ConfigError(
            f"labels are {int(labels.min())} to {int(labels.max())}, but 0 to {num_classes - 1} "
            "are accepted (--data.val)"
        )
    if bool(scores.isnan().any()):
        raise ConfigError("scores contain NaN: the features are unusable")
    own = scores.gather(1, labels[:, None])
    before = torch.arange(num_classes, device=scores.device) < labels[:, None]
    rank = ((scores > own) | ((scores == own) & before)).sum(dim=1)
    per_class = {
        name: _percent(rank[labels == label] < 1) if bool((labels == label).any()) else None
        for label, name in enumerate(class_names)
    }
    values = [value for value in per_class.values() if value is not None]
    return {
        "acc1": _percent(rank < 1),
        "acc5": _percent(rank < 5) if num_classes > 5 else None,
        "per_class": per_class,
        "mean_per_class": sum(values) / len(values),
        "confusion": _confusion(scores, labels) if num_classes <= _MAX_CONFUSION_CLASSES else None,
        "num_images": len(labels),
    }


def _confusion(scores: Tensor, labels: Tensor) -> list[list[int]]:
    num_classes = scores.shape[1]
    best = (
        (scores == scores.max(dim=1, keepdim=True).values).float().argmax(dim=1)
    )  # the first of equals
    places = torch.bincount(labels * num_classes + best, minlength=num_classes**2)
    return [[int(count) for count in row] for row in places.reshape(num_classes, num_classes)]


def _percent(correct: Tensor) -> float:
    return 100.0 * int(correct.sum()) / len(correct)
