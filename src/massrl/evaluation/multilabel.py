"""Images of several classes at once: a classifier for each class, and Pascal VOC's average precision."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional as F

from massrl.data.splits import holdout
from massrl.errors import ConfigError
from massrl.evaluation.finetune import TuningTarget
from massrl.evaluation.tasks.linear import STRENGTHS

_RECALLS = np.linspace(0, 1, 11)
_HELD = 0.2


@dataclass(frozen=True, kw_only=True)
class MultilabelResult:
    """Precision on the test images.

    Attributes:
        map11: mean over the classes of 11-point average precision, percent.
        per_class: the same of each class; ``None`` where no test image has it.
        strength: the inverse penalty C in use.
        holdout_map: percent on the held-out training images, by strength.
    """

    map11: float
    per_class: dict[str, float | None]
    strength: float
    holdout_map: dict[float, float]


def multilabel_probe(
    train: Tensor,
    train_truth: np.ndarray,
    test: Tensor,
    test_truth: np.ndarray,
    *,
    class_names: Sequence[str],
    seed: int = 0,
    strengths: Sequence[float] = STRENGTHS,
) -> MultilabelResult:
    """Fit a logistic regression for each class on standardised features.

    The strength is that which does best on a held-out fifth of the training images, for all classes
    together; then all training images are learnt from.

    Args:
        train: float ``(n, D)``.
        train_truth: int ``(n, num_classes)``: 1 where an image has the class, 0 where not, -1 where nobody
            is asked, which VOC calls difficult.
        test: float ``(m, D)``.
        test_truth: int ``(m, num_classes)``.
        class_names: names of the classes.
        seed: of the held-out images.
        strengths: inverse penalties C to choose from.

    Raises:
        ConfigError: if no class has images to tell apart.

    Source: BYOL, arXiv 2006.07733, appendix D.1; VOC 2007's development kit for the measure.
    """
    mean, scale = train.mean(0), train.std(0).clamp(min=1e-6)
    values, asked = (((item - mean) / scale).numpy() for item in (train, test))
    kept, held = holdout(None, _HELD, seed=seed, total=len(values))
    accuracy: dict[float, float] = {}
    for strength in sorted(strengths):
        scores = _fit(values[kept], train_truth[kept], values[held], strength)
        accuracy[strength] = mean_precision(precisions(scores, train_truth[held]))
    best = max(sorted(strengths), key=lambda strength: accuracy[strength])
    each = precisions(_fit(values, train_truth, asked, best), test_truth)
    if all(value is None for value in each):
        raise ConfigError(
            "no class has a test image, so that nothing can be judged (--transfer.sets)"
        )
    return MultilabelResult(
        map11=mean_precision(each),
        per_class=dict(zip(class_names, each, strict=True)),
        strength=best,
        holdout_map=accuracy,
    )


def _fit(values: np.ndarray, truth: np.ndarray, asked: np.ndarray, strength: float) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    scores = np.zeros((len(asked), truth.shape[1]))
    for place in range(truth.shape[1]):
        known = truth[:, place] >= 0
        if len(np.unique(truth[known, place])) < 2:
            continue  # a class that all or none of the images have: every score stays equal
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore")  # of convergence
            model = LogisticRegression(C=strength, max_iter=200)
            model.fit(values[known], truth[known, place])
        scores[:, place] = model.decision_function(asked)
    return scores


def multilabel_target(truth: np.ndarray) -> TuningTarget:
    """Which classes each image has, to be fine-tuned on: an answer for each, by 11-point mAP.

    Args:
        truth: int ``(n, num_classes)``: 1, 0, or -1 where nobody is asked.
    """
    return TuningTarget(
        truth=truth,
        num_outputs=truth.shape[1],
        loss=_asked_entropy,
        measure=lambda scores, known: mean_precision(precisions(scores.numpy(), known)),
    )


def _asked_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """Binary cross-entropy, the mean over all answers that are asked for."""
    asked = truth >= 0
    losses = F.binary_cross_entropy_with_logits(logits, asked * truth.float(), reduction="none")
    return (losses * asked).sum() / asked.sum().clamp(min=1)


def precisions(scores: np.ndarray, truth: np.ndarray) -> list[float | None]:
    """``eleven_point_precision`` of each class."""
    return [eleven_point_precision(scores[:, k], truth[:, k]) for k in range(truth.shape[1])]


def mean_precision(each: Sequence[float | None]) -> float:
    """Their mean, over the classes that there are."""
    known = [value for value in each if value is not None]
    return sum(known) / max(1, len(known))


def eleven_point_precision(scores: np.ndarray, truth: np.ndarray) -> float | None:
    """Average precision as VOC 2007 defines it.

    The mean, over the recalls 0, 0.1, …, 1, of the highest precision at that recall or a higher one.

    Args:
        scores: ``(n,)``, higher is surer.
        truth: ``(n,)``: 1, 0, or -1 for images that are left out.

    Returns:
        Percent; ``None`` where no image has the class.
    """
    known = truth >= 0
    order = np.argsort(-scores[known], kind="stable")
    right = truth[known][order] == 1
    if not right.any():
        return None
    found = right.cumsum()
    precision, recall = found / np.arange(1, len(right) + 1), found / right.sum()
    highest = [precision[recall >= wanted - 1e-12].max(initial=0.0) for wanted in _RECALLS]
    return 100.0 * float(np.mean(highest))
