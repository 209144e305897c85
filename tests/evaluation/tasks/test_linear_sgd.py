"""The field's linear protocol against a plain loop in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.evaluation.conftest import colours, subject_of, whole_images

from massrl.config.evaluation import SgdConfig
from massrl.data.splits import holdout
from massrl.errors import ConfigError
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.tasks.linear_sgd import linear_sgd

CONFIG = SgdConfig(epochs=5, batch_size=16, lrs=(30.0, 3.0, 0.3))


def one_classifier(
    subject: EvaluationContext, rate: float, config: SgdConfig, *, seed: int, without: set[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Softmax regression by SGD with Nesterov momentum, one rate at a time, in float64."""
    labels = subject.train.labels
    assert labels is not None
    weight, bias = np.zeros((6, 4)), np.zeros(4)
    speeds = [np.zeros((6, 4)), np.zeros(4)]
    total = config.epochs * (len(subject.train) // config.batch_size)
    batches = whole_images(
        subject.train, batch_size=config.batch_size, epochs=config.epochs, seed=seed
    )
    for step, (images, indices) in enumerate(batches):
        kept = np.array([int(index) not in without for index in indices])
        with torch.no_grad():
            values = subject.network(images).double().numpy()[kept]
        truth = np.eye(4)[labels[indices.numpy()[kept]]]
        logits = values @ weight + bias
        chances = np.exp(logits - logits.max(1, keepdims=True))
        chances /= chances.sum(1, keepdims=True)
        wrong = (chances - truth) / len(values)
        lr = rate * config.batch_size / 1024 * (1 + np.cos(np.pi * step / total)) / 2
        for place, gradient in enumerate((values.T @ wrong, wrong.sum(0))):
            speeds[place] = 0.9 * speeds[place] + gradient
            step_by = lr * (gradient + 0.9 * speeds[place])
            if place == 0:
                weight = weight - step_by
            else:
                bias = bias - step_by
    return weight, bias


def test_classifiers_are_those_of_a_plain_loop_over_the_rates(subject: EvaluationContext) -> None:
    """Guards one pass over all rates against rates that mix, lag or see the wrong images."""
    result = linear_sgd(subject, CONFIG, seed=3)
    labels = subject.train_features.labels.numpy()
    _, held = holdout(labels, CONFIG.holdout, seed=3)
    accuracy = {}
    for rate in CONFIG.lrs:
        weight, bias = one_classifier(subject, rate, CONFIG, seed=3, without=set(held.tolist()))
        said = (subject.train_features.values.numpy()[held] @ weight + bias).argmax(1)
        accuracy[rate] = 100 * float((said == labels[held]).mean())
    assert result.holdout_accuracy == pytest.approx(accuracy)
    best = max(CONFIG.lrs, key=lambda rate: accuracy[rate])
    assert result.rate == best
    weight, bias = one_classifier(subject, best, CONFIG, seed=3, without=set())
    wanted = subject.test_features.values.double().numpy() @ weight + bias
    np.testing.assert_allclose(result.scores.numpy(), wanted, rtol=1e-4, atol=1e-4)


def test_backbone_stays_as_it_is(subject: EvaluationContext) -> None:
    """Guards "frozen": no weight, no statistic of batch norm, no mode changes."""
    subject.network.layers[2].train()  # type: ignore[index]
    before = {name: item.clone() for name, item in subject.network.state_dict().items()}
    linear_sgd(subject, CONFIG, seed=0)
    after = subject.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert subject.network.layers[2].training  # type: ignore[index]


def test_held_out_images_never_teach_what_is_chosen_by_them(subject: EvaluationContext) -> None:
    """Guards the choice of the rate: wrong labels of held-out images must not reach its classifiers."""
    labels = subject.train.labels
    assert labels is not None
    _, held = holdout(labels, CONFIG.holdout, seed=0)
    first = linear_sgd(subject, CONFIG, seed=0).holdout_accuracy
    other = colours(80, seed=0)
    assert other.labels is not None
    other.labels[held] = (labels[held] + 1) % 4
    # The same images are held out, since the subject says so: only what they are called differs.
    changed = subject_of(other, subject.test)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "massrl.evaluation.tasks.linear_sgd.holdout", lambda *_, **__: (_rest(held, 80), held)
        )
        second = linear_sgd(changed, CONFIG, seed=0).holdout_accuracy
    said = {rate: _right(first[rate], len(held)) for rate in CONFIG.lrs}
    assert max(said.values()) > len(held) // 2  # they were right before
    assert all(_right(second[rate], len(held)) <= len(held) - said[rate] for rate in CONFIG.lrs)


def _rest(held: np.ndarray, count: int) -> np.ndarray:
    return np.setdiff1d(np.arange(count), held)


def _right(percent: float, count: int) -> int:
    return round(percent * count / 100)


def test_one_class_is_refused() -> None:
    """Guards a hundred percent of nothing."""
    source = colours(40, seed=0)
    source.labels = np.zeros(40, np.int64)
    with pytest.raises(ConfigError, match="two classes"):
        linear_sgd(subject_of(source, colours(8, seed=1)), CONFIG, seed=0)
