"""The linear probe: what it fits, and what it must never look at."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from massrl.errors import ConfigError
from massrl.evaluation.features import Features
from massrl.evaluation.tasks.linear import _holdout, linear_probe


def _data(
    count: int, seed: int, *, noise: float = 1.0, num_classes: int = 3, width: int = 8
) -> Features:
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % num_classes
    values = np.eye(num_classes, width)[labels] + noise * generator.normal(size=(count, width))
    return Features(torch.tensor(values, dtype=torch.float32), torch.tensor(labels))


def _accuracy(scores: Tensor, labels: Tensor) -> float:
    return float((scores.argmax(1) == labels).float().mean())


def test_probe_minimises_the_penalised_likelihood() -> None:
    """Features that are not standardised, or another penalty than C states; in NumPy and SciPy."""
    train, test = _data(60, 0), _data(20, 1)
    result = linear_probe(train, test, num_classes=3, c_values=(0.05,))
    x, y = train.values.numpy().astype(np.float64), train.labels.numpy()
    mean, std = x.mean(0), x.std(0)
    x = (x - mean) / std

    def objective(flat: np.ndarray) -> float:
        weights, bias = flat[:24].reshape(3, 8), flat[24:]
        logits = x @ weights.T + bias
        likelihood = logits[np.arange(60), y] - np.log(np.exp(logits).sum(1))
        return float(0.5 * (weights**2).sum() - 0.05 * likelihood.sum())

    best = minimize(objective, np.zeros(27), method="BFGS", options={"gtol": 1e-4}).x
    logits = (test.values.numpy() - mean) / std @ best[:24].reshape(3, 8).T + best[24:]
    wanted = logits - logits.mean(1, keepdims=True)  # a shift of all logits changes nothing
    got = result.scores.numpy()
    np.testing.assert_allclose(got - got.mean(1, keepdims=True), wanted, atol=5e-3)
    assert (result.c, result.holdout_accuracy, result.converged) == (0.05, {}, True)


def test_probe_with_other_test_labels_is_the_same() -> None:
    """A C selected on the test set: its labels would select another."""
    train = _data(240, 2, noise=1.0)
    test = _data(300, 3, noise=1.0)
    c_values = (1e-5, 1e-3, 1e-1, 1e2)
    result = linear_probe(train, test, num_classes=3, c_values=c_values)
    alone = {c: linear_probe(train, test, num_classes=3, c_values=(c,)).scores for c in c_values}
    # Labels for which another C is perfect, and far better than the selected one.
    other = 1e2 if result.c != 1e2 else 1e-5
    planted = Features(test.values, alone[other].argmax(1))
    assert _accuracy(alone[other], planted.labels) == 1.0
    assert _accuracy(alone[result.c], planted.labels) < 1.0
    permuted = Features(test.values, test.labels.flip(0).roll(1))
    unlabelled = Features(test.values, torch.full((300,), -1))
    for changed in (planted, permuted, unlabelled):
        again = linear_probe(train, changed, num_classes=3, c_values=c_values)
        assert again.c == result.c
        assert again.holdout_accuracy == result.holdout_accuracy
        assert torch.equal(again.scores, result.scores)


def test_probe_takes_the_c_that_is_best_on_held_out_images() -> None:
    """A selection by training accuracy, where the weakest penalty always wins."""
    train, test = _data(300, 4, width=100), _data(60, 5, width=100)
    c_values = (1e-3, 1e4)
    result = linear_probe(train, test, num_classes=3, c_values=c_values, holdout_fraction=0.5)
    fitted = {
        item: linear_probe(train, train, num_classes=3, c_values=(item,)) for item in c_values
    }
    training = {item: _accuracy(fit.scores, train.labels) for item, fit in fitted.items()}
    assert training[1e4] > training[1e-3], "planted: noise that a weak penalty fits"
    assert result.holdout_accuracy[1e-3] > result.holdout_accuracy[1e4]
    assert result.c == 1e-3
    whole = linear_probe(train, test, num_classes=3, c_values=(1e-3,))
    # the final fit uses all training images, not just those that were not held out
    torch.testing.assert_close(result.scores, whole.scores)


def test_probe_takes_the_smallest_of_equal_c() -> None:
    """A tie decided by the order in which values were written."""
    train = _data(60, 6, noise=0.01)
    result = linear_probe(train, train, num_classes=3, c_values=(1.0, 0.1, 10.0))
    assert set(result.holdout_accuracy.values()) == {100.0}
    assert result.c == 0.1


def test_probe_that_does_not_converge_says_so_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    """scikit-learn's ConvergenceWarning on the user's screen."""
    monkeypatch.setattr("massrl.evaluation.tasks.linear._MAX_ITERATIONS", 2)
    train = _data(60, 7)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        result = linear_probe(train, train, num_classes=3)
    assert seen == []
    assert not result.converged


def test_probe_of_two_classes_has_two_columns() -> None:
    """scikit-learn gives one column for two classes."""
    train, test = _data(80, 8, num_classes=2, noise=0.3), _data(40, 9, num_classes=2, noise=0.3)
    result = linear_probe(train, test, num_classes=2)
    assert result.scores.shape == (40, 2)
    assert _accuracy(result.scores, test.labels) > 0.9


def test_probe_never_predicts_a_class_without_training_images() -> None:
    """Columns that shift when a class is missing, so that every later class is wrong."""
    train = _data(80, 10, noise=0.1)
    keep = train.labels != 1
    some = Features(train.values[keep], train.labels[keep])
    scores = linear_probe(some, train, num_classes=4).scores
    assert torch.isneginf(scores[:, [1, 3]]).all()
    assert _accuracy(scores[keep], train.labels[keep]) == 1.0


def test_probe_ignores_a_constant_dimension() -> None:
    """A dead feature, whose deviation is zero or float rounding, that becomes NaN or noise."""
    train, test = _data(60, 11), _data(20, 12)
    wanted = linear_probe(train, test, num_classes=3).scores
    dead = torch.tensor([0.0, 1000.1])

    def widen(features: Features) -> Features:
        jitter = 1e-4 * torch.rand(len(features), 2, generator=torch.Generator().manual_seed(0))
        constant = dead + jitter * torch.tensor([0.0, 1.0])
        return Features(torch.cat([features.values, constant], dim=1), features.labels)

    got = linear_probe(widen(train), widen(test), num_classes=3).scores
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3)


def test_holdout_is_balanced_seeded_and_leaves_every_class_an_image() -> None:
    """A rare class that is held out entirely, and so is never trained on."""
    labels = np.array([0] * 40 + [1] * 20 + [2] * 2 + [3])
    held = _holdout(labels, fraction=0.25, seed=0)
    assert np.bincount(labels[held], minlength=4).tolist() == [10, 5, 1, 0]
    assert np.array_equal(held, _holdout(labels, fraction=0.25, seed=0))
    assert not np.array_equal(held, _holdout(labels, fraction=0.25, seed=1))


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([0, 1, -1, 0], {}, "-1 to 1"),
        ([0, 1, 2, 3], {}, "0 to 2 are accepted"),
        ([1, 1, 1, 1], {}, "of one class"),
        ([0, 0, 1, 1], {"c_values": ()}, "C of the linear probe"),
        ([0, 0, 1, 1], {"c_values": (1.0, 0.0)}, "C of the linear probe"),
        ([0, 0, 1, 1], {"holdout_fraction": 1.0}, "holdout fraction"),
    ],
)
def test_probe_with_unusable_arguments_says_which(
    labels: list[int], options: dict[str, object], message: str
) -> None:
    """A ValueError from inside scikit-learn."""
    train = Features(torch.randn(4, 8), torch.tensor(labels))
    with pytest.raises(ConfigError, match=message):
        linear_probe(train, train, num_classes=3, **options)


def test_probe_with_single_images_needs_a_single_c() -> None:
    """A C selected on no image at all."""
    train = Features(torch.randn(3, 8), torch.arange(3))
    with pytest.raises(ConfigError, match="single training image"):
        linear_probe(train, train, num_classes=3)
    result = linear_probe(train, train, num_classes=3, c_values=(10.0,))
    assert _accuracy(result.scores, train.labels) == 1.0
