"""Average precision of Pascal VOC against cases placed by hand, and its probe against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from massrl.errors import ConfigError
from massrl.evaluation.multilabel import eleven_point_precision, multilabel_probe


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
    with pytest.raises(ConfigError, match="no class has a test image"):
        multilabel_probe(values, truth, values, 0 * truth, class_names=("a", "b"))
