"""Linear probe: logistic regression on frozen features, tuned on held-out training images."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from massrl.config.evaluation import EvaluateConfig
from massrl.errors import ConfigError
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.features import Features
from massrl.evaluation.task import Task, TaskResult, classification_result, text_keys

C_VALUES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_MAX_ITERATIONS = 200
# Products per pass over the images above which several threads are faster: with fewer, threads that wait
# for each other after every small product made a probe ten times slower on two cores.
_MIN_PRODUCTS_FOR_THREADS = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class LinearResult:
    """Predictions of a fitted probe for the test images.

    Attributes:
        scores: float32 ``(n, num_classes)``, logits; ``-inf`` for a class without training images.
        c: scikit-learn's ``C``, the inverse regularisation strength, that was selected.
        holdout_accuracy: percent on the held-out training images, by ``c``; empty where there was only
            one to select from.
        converged: whether the final fit ended before its limit of iterations.
    """

    scores: Tensor
    c: float
    holdout_accuracy: dict[float, float]
    converged: bool


def linear_probe(
    train: Features,
    test: Features,
    *,
    num_classes: int,
    seed: int = 0,
    c_values: Sequence[float] = C_VALUES,
    holdout_fraction: float = 0.1,
) -> LinearResult:
    """Fit multinomial logistic regression on standardised features.

    A class-balanced part of the training images is held out; the regularisation that is most accurate
    there (of equal ones the strongest) is used to fit all training images. Labels of the test images are
    not used.

    Args:
        train: features and labels to train on.
        test: features to classify.
        num_classes: number of classes.
        seed: of the held-out images.
        c_values: inverse regularisation strengths to select from.
        holdout_fraction: fraction of each class that is held out, in (0, 1).

    Raises:
        ConfigError: if the labels do not suffice, or an argument is out of range.
    """
    labels = train.labels.numpy()
    _check(labels, num_classes, c_values=c_values, holdout_fraction=holdout_fraction)
    values = train.values.numpy()
    c_values = sorted(c_values)
    accuracy: dict[float, float] = {}
    if len(c_values) > 1:
        held = _holdout(labels, fraction=holdout_fraction, seed=seed)
        fit = _Fit(values[~held], labels[~held], num_classes=num_classes)
        for c in c_values:
            fit.run(c)
            correct = fit.scores(values[held]).argmax(axis=1) == labels[held]
            accuracy[c] = 100.0 * float(correct.mean())
    best = max(c_values, key=lambda c: accuracy.get(c, 0.0))  # the first of equals
    fit = _Fit(values, labels, num_classes=num_classes)
    fit.run(best)
    return LinearResult(
        scores=torch.from_numpy(fit.scores(test.values.numpy())),
        c=best,
        holdout_accuracy=accuracy,
        converged=fit.converged,
    )


class _Fit:
    """Standardisation and regression on one set of images; each fit starts from the previous one."""

    def __init__(self, values: np.ndarray, labels: np.ndarray, *, num_classes: int) -> None:
        from sklearn.linear_model import LogisticRegression

        self._mean = values.mean(axis=0, dtype=np.float64)
        deviation = values.std(axis=0, dtype=np.float64)
        # A constant dimension carries no information, and its float32 rounding must not be scaled up.
        varies = deviation > 1e-6 * np.abs(self._mean)
        self._scale = np.where(varies, 1 / np.where(varies, deviation, 1.0), 0.0)
        self._values = self._standardise(values)
        self._labels = labels
        self._num_classes = num_classes
        self._model = LogisticRegression(max_iter=_MAX_ITERATIONS, warm_start=True)
        self.converged = False

    def _standardise(self, values: np.ndarray) -> np.ndarray:
        standardised = (values - self._mean) * self._scale
        return np.asarray(standardised, dtype=np.float32)  # twice as fast to fit as float64

    def run(self, c: float) -> None:
        threads = 1 if self._values.size * self._num_classes < _MIN_PRODUCTS_FOR_THREADS else None
        with warnings.catch_warnings(), threadpool_limits(threads):
            warnings.simplefilter("ignore")  # about convergence, which ``converged`` tells
            self._model.set_params(C=c).fit(self._values, self._labels)
        self.converged = int(self._model.n_iter_.max()) < _MAX_ITERATIONS

    def scores(self, values: np.ndarray) -> np.ndarray:
        logits = self._model.decision_function(self._standardise(values))
        if logits.ndim == 1:  # two classes: the logit of the second against the first
            logits = np.stack([np.zeros_like(logits), logits], axis=1)
        scores = np.full((len(values), self._num_classes), -np.inf, dtype=np.float32)
        scores[:, self._model.classes_] = logits
        return scores


def _holdout(labels: np.ndarray, *, fraction: float, seed: int) -> np.ndarray:
    """Mark a fraction of every class: at least one image of it, but never all of them."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        held[members[:count]] = True
    if not held.any():
        raise ConfigError(
            "linear probe: every class has a single training image, so that no C can be "
            "selected; 2 or more are wanted in some class, or a single C (--data.train)"
        )
    return held


def _check(
    labels: np.ndarray, num_classes: int, *, c_values: Sequence[float], holdout_fraction: float
) -> None:
    if not len(labels) or labels.min() < 0 or labels.max() >= num_classes:
        seen = f"{labels.min()} to {labels.max()}" if len(labels) else "none"
        raise ConfigError(
            f"linear probe: labels are {seen}, but 0 to {num_classes - 1} are accepted; every "
            "training image must be labelled (--data.train)"
        )
    if labels.min() == labels.max():
        raise ConfigError(
            "linear probe: all training images are of one class, but 2 or more classes are wanted "
            "(--data.train)"
        )
    if not c_values or min(c_values) <= 0:
        raise ConfigError(
            f"C of the linear probe is one of {tuple(c_values)}, but one or more "
            "numbers above 0 are wanted"
        )
    if not 0 < holdout_fraction < 1:
        raise ConfigError(
            f"holdout fraction of the linear probe is {holdout_fraction:g}, but a number between "
            "0 and 1 is wanted"
        )


def linear_result(context: EvaluationContext, *, seed: int, name: str) -> TaskResult:
    """Return the result of a linear probe on the features of the images.

    Args:
        context: the backbone and its images.
        seed: of the held-out images.
        name: of the result.
    """
    result = linear_probe(
        context.train_features,
        context.test_features,
        num_classes=context.num_classes,
        seed=seed,
    )
    settings = {
        "C": result.c,
        "converged": result.converged,
        "holdout_accuracy": text_keys(result.holdout_accuracy),
    }
    return classification_result(context, name, result.scores, settings)


class LinearProbe(Task):
    """Logistic regression on frozen features."""

    title = "linear probe"

    def run(self, context: EvaluationContext, config: EvaluateConfig) -> Iterator[TaskResult]:
        """Fit the probe and classify the test images."""
        yield linear_result(context, seed=config.seed, name=self.name)
