"""Linear evaluation by SGD against a plain loop in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.evaluation.conftest import colours, context_of

from massrl.config.evaluation import SgdConfig
from massrl.data.splits import holdout
from massrl.errors import ConfigError
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.tasks.linear_sgd import linear_sgd

CONFIG = SgdConfig(epochs=5, batch_size=16, lrs=(30.0, 3.0, 0.3))


def one_classifier(
    context: EvaluationContext, lr: float, config: SgdConfig, *, seed: int, without: set[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Softmax regression by SGD with Nesterov momentum, at one learning rate, in float64."""
    labels = context.train.labels
    assert labels is not None
    weight, bias = np.zeros((6, 4)), np.zeros(4)
    speeds = [np.zeros((6, 4)), np.zeros(4)]
    total = config.epochs * (len(context.train) // config.batch_size)
    batches = context.crops(
        context.train, batch_size=config.batch_size, epochs=config.epochs, seed=seed
    )
    for step, (images, indices) in enumerate(batches):
        kept = np.array([int(index) not in without for index in indices])
        with torch.no_grad():
            values = context.network(images).double().numpy()[kept]
        truth = np.eye(4)[labels[indices.numpy()[kept]]]
        logits = values @ weight + bias
        chances = np.exp(logits - logits.max(1, keepdims=True))
        chances /= chances.sum(1, keepdims=True)
        wrong = (chances - truth) / len(values)
        factor = lr * config.batch_size / 1024 * (1 + np.cos(np.pi * step / total)) / 2
        for place, gradient in enumerate((values.T @ wrong, wrong.sum(0))):
            speeds[place] = 0.9 * speeds[place] + gradient
            step_by = factor * (gradient + 0.9 * speeds[place])
            if place == 0:
                weight = weight - step_by
            else:
                bias = bias - step_by
    return weight, bias


def test_classifiers_are_those_of_a_plain_loop_over_learning_rates(
    context: EvaluationContext,
) -> None:
    """Guards one pass over all learning rates against mixing, lagging or wrong images."""
    result = linear_sgd(context, CONFIG, seed=3)
    labels = context.train_features.labels.numpy()
    _, held = holdout(labels, CONFIG.holdout, seed=3)
    accuracy = {}
    for lr in CONFIG.lrs:
        weight, bias = one_classifier(context, lr, CONFIG, seed=3, without=set(held.tolist()))
        predicted = (context.train_features.values.numpy()[held] @ weight + bias).argmax(1)
        accuracy[lr] = 100 * float((predicted == labels[held]).mean())
    assert result.holdout_accuracy == pytest.approx(accuracy)
    best = max(CONFIG.lrs, key=lambda lr: accuracy[lr])
    assert result.lr == best
    weight, bias = one_classifier(context, best, CONFIG, seed=3, without=set())
    wanted = context.test_features.values.double().numpy() @ weight + bias
    np.testing.assert_allclose(result.scores.numpy(), wanted, rtol=1e-4, atol=1e-4)


def test_backbone_is_unchanged(context: EvaluationContext) -> None:
    """Guards "frozen": no weight, no statistic of batch norm, no mode changes."""
    context.network.layers[2].train()  # type: ignore[index]
    before = {name: item.clone() for name, item in context.network.state_dict().items()}
    linear_sgd(context, CONFIG, seed=0)
    after = context.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert context.network.layers[2].training  # type: ignore[index]


def test_held_out_images_do_not_train_what_is_selected_on_them(context: EvaluationContext) -> None:
    """Guards the selection: wrong labels of held-out images must not reach its classifiers."""
    labels = context.train.labels
    assert labels is not None
    _, held = holdout(labels, CONFIG.holdout, seed=0)
    first = linear_sgd(context, CONFIG, seed=0).holdout_accuracy
    other = colours(80, seed=0)
    assert other.labels is not None
    other.labels[held] = (labels[held] + 1) % 4
    # The same images are held out: only their labels differ.
    changed = context_of(other, context.test)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "massrl.evaluation.tasks.linear_sgd.holdout", lambda *_, **__: (_rest(held, 80), held)
        )
        second = linear_sgd(changed, CONFIG, seed=0).holdout_accuracy
    right = {lr: _right(first[lr], len(held)) for lr in CONFIG.lrs}
    assert max(right.values()) > len(held) // 2  # they were right before
    assert all(_right(second[lr], len(held)) <= len(held) - right[lr] for lr in CONFIG.lrs)


def _rest(held: np.ndarray, count: int) -> np.ndarray:
    return np.setdiff1d(np.arange(count), held)


def _right(percent: float, count: int) -> int:
    return round(percent * count / 100)


def test_one_class_is_refused() -> None:
    """Guards an accuracy of 100 percent that means nothing."""
    source = colours(40, seed=0)
    source.labels = np.zeros(40, np.int64)
    with pytest.raises(ConfigError, match="two or more classes"):
        linear_sgd(context_of(source, colours(8, seed=1)), CONFIG, seed=0)
