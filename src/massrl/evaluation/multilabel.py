"""Images of several classes at once: one classifier per class, and Pascal VOC's average precision."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional as F

from massrl.data.splits import holdout
from massrl.errors import DataError
from massrl.evaluation.finetune import TuningTarget
from massrl.evaluation.tasks.linear import C_VALUES

_RECALLS = np.linspace(0, 1, 11)
_HOLDOUT = 0.2


@dataclass(frozen=True, kw_only=True)
class MultilabelResult:
    """Average precision on the test images.

    Attributes:
        map11: mean over the classes of 11-point average precision, percent.
        per_class: 11-point average precision of each class; ``None`` where no test image has it.
        c: the inverse regularisation strength in use.
        holdout_map: percent on the held-out training images, by ``c``.
    """

    map11: float
    per_class: dict[str, float | None]
    c: float
    holdout_map: dict[float, float]


def multilabel_probe(
    train: Tensor,
    train_truth: np.ndarray,
    test: Tensor,
    test_truth: np.ndarray,
    *,
    class_names: Sequence[str],
    seed: int = 0,
    c_values: Sequence[float] = C_VALUES,
) -> MultilabelResult:
    """Fit one logistic regression per class on standardised features.

    The regularisation is selected on a held-out fifth of the training images, for all classes together;
    then the classifiers are fitted on all training images.

    Args:
        train: float ``(n, D)``.
        train_truth: int ``(n, num_classes)``: 1 where an image has the class, 0 where not, -1 where it does
            not count, which VOC calls difficult.
        test: float ``(m, D)``.
        test_truth: int ``(m, num_classes)``.
        class_names: names of the classes.
        seed: of the held-out images.
        c_values: inverse regularisation strengths to select from.

    Raises:
        DataError: if no class has a training image, or none has a test image.

    Source: BYOL, arXiv 2006.07733, appendix D.1; VOC 2007's development kit for the metric.
    """
    _check_classes(train_truth, test_truth)
    mean, scale = train.mean(0), train.std(0).clamp(min=1e-6)
    values, queries = (((item - mean) / scale).numpy() for item in (train, test))
    kept, held = holdout(None, _HOLDOUT, seed=seed, total=len(values))
    holdout_map: dict[float, float] = {}
    for c in sorted(c_values):
        scores = _fit(values[kept], train_truth[kept], values[held], c)
        holdout_map[c] = mean_precision(precisions(scores, train_truth[held])) or 0.0
    best = max(sorted(c_values), key=lambda c: holdout_map[c])
    each = precisions(_fit(values, train_truth, queries, best), test_truth)
    map11 = mean_precision(each)
    assert map11 is not None
    return MultilabelResult(
        map11=map11,
        per_class=dict(zip(class_names, each, strict=True)),
        c=best,
        holdout_map=holdout_map,
    )


def _check_classes(train_truth: np.ndarray, test_truth: np.ndarray) -> None:
    """Refuse images that no class can be learned from, or found in."""
    if not (test_truth == 1).any():
        raise DataError(
            "no class has a test image, so that nothing can be evaluated (--transfer.sets)"
        )
    if not (train_truth == 1).any():
        raise DataError(
            "no class has a training image, so that nothing can be learned (--transfer.sets)"
        )


def _fit(values: np.ndarray, truth: np.ndarray, queries: np.ndarray, c: float) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    scores = np.zeros((len(queries), truth.shape[1]))
    for label in range(truth.shape[1]):
        counts = truth[:, label] >= 0
        if len(np.unique(truth[counts, label])) < 2:
            continue  # a class that all or none of the images have: all scores are equal
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore")  # about convergence
            model = LogisticRegression(C=c, max_iter=200)
            model.fit(values[counts], truth[counts, label])
        scores[:, label] = model.decision_function(queries)
    return scores


def multilabel_target(truth: np.ndarray) -> TuningTarget:
    """Return the classes of each image as a target of fine-tuning: one output per class, 11-point mAP.

    Args:
        truth: int ``(n, num_classes)``: 1, 0, or -1 where a class does not count.
    """
    return TuningTarget(
        truth=truth,
        num_outputs=truth.shape[1],
        loss=_counted_entropy,
        measure=lambda scores, truth: mean_precision(precisions(scores.numpy(), truth)) or 0.0,
    )


def _counted_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """Return binary cross-entropy, the mean over all entries that count."""
    counts = truth >= 0
    losses = F.binary_cross_entropy_with_logits(logits, counts * truth.float(), reduction="none")
    return (losses * counts).sum() / counts.sum().clamp(min=1)


def precisions(scores: np.ndarray, truth: np.ndarray) -> list[float | None]:
    """Return ``eleven_point_precision`` of each class."""
    return [eleven_point_precision(scores[:, k], truth[:, k]) for k in range(truth.shape[1])]


def mean_precision(each: Sequence[float | None]) -> float | None:
    """Return the mean over the classes that have images; ``None`` if none has."""
    values = [value for value in each if value is not None]
    return sum(values) / len(values) if values else None


def eleven_point_precision(scores: np.ndarray, truth: np.ndarray) -> float | None:
    """Return average precision as VOC 2007 defines it.

    The mean, over the recalls 0, 0.1, …, 1, of the highest precision at that recall or a higher one. Images
    of equal scores rank together, so that their order does not matter.

    Args:
        scores: ``(n,)``, higher is more likely.
        truth: ``(n,)``: 1, 0, or -1 for images that do not count.

    Returns:
        Percent; ``None`` where no image has the class.
    """
    counts = truth >= 0
    order = np.argsort(-scores[counts], kind="stable")
    right = truth[counts][order] == 1
    if not right.any():
        return None
    ends = np.flatnonzero(np.diff(scores[counts][order], append=-np.inf))  # the last of equals
    found = right.cumsum()[ends]
    precision, recall = found / (ends + 1), found / right.sum()
    highest = [precision[recall >= wanted - 1e-12].max(initial=0.0) for wanted in _RECALLS]
    return 100.0 * float(np.mean(highest))
