"""Average precision of Pascal VOC against cases placed by hand, and its probe against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_recall_curve
from sklearn.preprocessing import StandardScaler

from massrl.errors import DataError
from massrl.evaluation.multilabel import (
    eleven_point_precision,
    mean_precision,
    multilabel_probe,
    multilabel_target,
)


@pytest.mark.parametrize(
    ("truth", "wanted"),
    [
        ([1, 1, 0, 0], 100.0),
        ([0, 0, 1, 1], 50.0),  # precision 1/3, then 2/4: a half is the highest at every recall
        ([1, 0, 1, 0], 100 * (6 * 1 + 5 * 2 / 3) / 11),  # 1 up to a recall of 0.5, then 2/3
        ([0, 1, 0, 0], 50.0),
        ([-1, 1, -1, 1], 100.0),  # difficult ones are neither right nor wrong
        ([0, 0, 0, 0], None),
        ([1, 1, 1, 1], 100.0),
    ],
)
def test_precision_of_cases_placed_by_hand(truth: list[int], wanted: float | None) -> None:
    """Guards the eleven recalls, interpolation to the right, and what is left out."""
    scores = np.array([0.9, 0.7, 0.5, 0.1])
    got = eleven_point_precision(scores, np.array(truth))
    assert got == (None if wanted is None else pytest.approx(wanted))
    shuffled = np.array([2, 0, 3, 1])
    again = eleven_point_precision(scores[shuffled], np.array(truth)[shuffled])
    assert again == got


def classes_of(values: np.ndarray) -> np.ndarray:
    """Return two classes that overlap, and one at random."""
    generator = np.random.default_rng(5)
    return np.stack(
        [values[:, 0] > 0, values[:, 1] + values[:, 0] > 0.5, generator.random(len(values)) > 0.5],
        axis=1,
    ).astype(np.int64)


def test_probe_is_a_regression_for_each_class() -> None:
    """Guards standardisation by the training images alone, and the selection of C."""
    generator = np.random.default_rng(0)
    train, test = generator.normal(3, 2, (120, 4)), generator.normal(3, 2, (60, 4))
    truth, test_truth = classes_of(train - 3), classes_of(test - 3)
    truth[:7, 0] = -1
    result = multilabel_probe(
        torch.from_numpy(train),
        truth,
        torch.from_numpy(test),
        test_truth,
        class_names=("a", "b", "c"),
        c_values=(1.0, 0.01),
    )
    assert result.c == max(result.holdout_map, key=lambda key: result.holdout_map[key])
    scaler = StandardScaler().fit(train)
    for label, name in enumerate("abc"):
        counted = truth[:, label] >= 0
        model = LogisticRegression(C=result.c, max_iter=500)
        model.fit(scaler.transform(train[counted]), truth[counted, label])
        scores = model.decision_function(scaler.transform(test))
        wanted = eleven_point_precision(scores, test_truth[:, label])
        assert result.per_class[name] == pytest.approx(wanted, abs=1.0)
    assert result.per_class["a"] is not None
    assert result.per_class["a"] > 95
    precisions = [value for value in result.per_class.values() if value is not None]
    assert result.map11 == pytest.approx(sum(precisions) / 3)


def test_classes_without_test_images_count_nowhere() -> None:
    """Guards the mean against zeros of classes that have no image."""
    generator = np.random.default_rng(0)
    values = torch.from_numpy(generator.normal(size=(40, 3)))
    truth = np.stack([values[:, 0] > 0, np.zeros(40)], axis=1).astype(np.int64)
    result = multilabel_probe(values, truth, values, truth, class_names=("a", "b"))
    assert result.per_class["b"] is None
    assert result.map11 == result.per_class["a"]
    with pytest.raises(DataError, match="no class has a test image"):
        multilabel_probe(values, truth, values, 0 * truth, class_names=("a", "b"))


@pytest.mark.parametrize("levels", [1, 2, 5, 1000])
def test_equal_scores_rank_together_as_in_scikit_learn(levels: int) -> None:
    """Guards classes that nothing was learned of: their figure depended on the order of the images."""
    generator = np.random.default_rng(levels)
    scores = generator.integers(0, levels, 60).astype(float)
    truth = (generator.random(60) < 0.3).astype(int)
    precision, recall, _ = precision_recall_curve(truth, scores)
    wanted = [max(precision[:-1][recall[:-1] >= at - 1e-12]) for at in np.arange(11) / 10]
    assert eleven_point_precision(scores, truth) == pytest.approx(100 * np.mean(wanted))
    order = generator.permutation(60)
    assert eleven_point_precision(scores[order], truth[order]) == pytest.approx(
        100 * np.mean(wanted)
    )


def test_nothing_to_learn_or_to_find_is_refused() -> None:
    """Guards a mean over no class, which was 0: no class in the test images, or in the training images.

    A class that all training images have, or none, gives what guessing gives.
    """
    generator = np.random.default_rng(0)
    values = torch.from_numpy(generator.normal(size=(40, 3)))
    own = (values[:, 0] > 0).numpy().astype(np.int64)
    truth = np.stack([own, own], axis=1)
    names = ("a", "b")
    for train_truth in (np.zeros_like(truth), -np.ones_like(truth)):
        with pytest.raises(DataError, match="no class has a training image"):
            multilabel_probe(values, train_truth, values, truth, class_names=names)
    for test_truth in (np.zeros_like(truth), -np.ones_like(truth)):
        with pytest.raises(DataError, match="no class has a test image"):
            multilabel_probe(values, truth, values, test_truth, class_names=names)
    train_truth = np.stack([own, np.zeros(40, np.int64)], axis=1)
    result = multilabel_probe(values, train_truth, values, truth, class_names=names)
    assert result.per_class["b"] == pytest.approx(100 * own.mean())
    result = multilabel_probe(values, np.ones_like(truth), values, truth, class_names=names)
    assert result.map11 == pytest.approx(100 * own.mean())
    assert mean_precision([None, None]) is None
    assert mean_precision([None, 40.0, 60.0]) == 50.0
    assert multilabel_target(0 * truth).measure(torch.zeros(40, 2), 0 * truth) == 0.0
