"""Accuracies against torchmetrics and cases placed by hand."""

from __future__ import annotations

import json

import pytest
import torch
from sklearn.metrics import confusion_matrix, recall_score
from torchmetrics.functional.classification import multiclass_accuracy

from massrl.errors import ConfigError
from massrl.evaluation.metrics import classification_metrics


def test_metrics_equal_torchmetrics() -> None:
    """A top-5 that counts top-6, or accuracies averaged over classes instead of images."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 9, (200,), generator=generator) ** 2 // 9  # unevenly many of each
    scores = torch.randn(200, 9, generator=generator)
    scores[torch.arange(200), labels] += 1
    metrics = classification_metrics(scores, labels, class_names=[f"c{i}" for i in range(9)])
    for key, k in (("acc1", 1), ("acc5", 5)):
        wanted = multiclass_accuracy(scores, labels, num_classes=9, average="micro", top_k=k)
        assert metrics[key] == pytest.approx(100 * float(wanted), abs=1e-4)
    per_class = multiclass_accuracy(scores, labels, num_classes=9, average=None)
    for i, wanted in enumerate(per_class):
        if (labels == i).any():
            assert metrics["per_class"][f"c{i}"] == pytest.approx(100 * float(wanted), abs=1e-4)
        else:
            assert metrics["per_class"][f"c{i}"] is None
    assert metrics["num_images"] == 200
    seen = [value for value in metrics["per_class"].values() if value is not None]
    assert metrics["mean_per_class"] == pytest.approx(100 * recall(labels, scores), abs=1e-4)
    assert metrics["mean_per_class"] != pytest.approx(metrics["acc1"], abs=0.1)
    assert len(seen) < 9
    counted = confusion_matrix(labels, scores.argmax(1), labels=range(9))
    assert metrics["confusion"] == counted.tolist()


def recall(labels: torch.Tensor, scores: torch.Tensor) -> float:
    """scikit-learn's mean over the classes that have images."""
    present = labels.unique().tolist()
    return float(recall_score(labels, scores.argmax(1), labels=present, average="macro"))


def test_confusion_matrix_is_left_out_above_a_hundred_classes() -> None:
    """A million numbers in the results of ImageNet."""
    names = [str(number) for number in range(101)]
    assert (
        classification_metrics(torch.eye(101), torch.arange(101), class_names=names)["confusion"]
        is None
    )


@pytest.mark.parametrize(("num_classes", "has"), [(5, False), (6, True)])
def test_top_five_exists_from_six_classes_on(num_classes: int, has: bool) -> None:
    """A proud 100 % among five classes."""
    metrics = classification_metrics(
        torch.eye(num_classes), torch.arange(num_classes), class_names="abcdef"[:num_classes]
    )
    assert (metrics["acc5"] is not None) == has
    assert metrics["acc1"] == 100.0


def test_metrics_with_equal_scores_count_the_lower_class_first() -> None:
    """A constant score that counts every label as right."""
    metrics = classification_metrics(torch.zeros(7, 7), torch.arange(7), class_names="abcdefg")
    assert metrics["acc1"] == pytest.approx(100 / 7)
    assert metrics["acc5"] == pytest.approx(500 / 7)
    assert metrics["per_class"] == {"a": 100.0, **dict.fromkeys("bcdefg", 0.0)}


def test_metrics_can_be_written_as_json() -> None:
    """Tensors or NumPy numbers that break results.json; a class that was never predictable."""
    scores = torch.tensor([[0.0, 1.0, -torch.inf], [0.0, 1.0, -torch.inf]])
    metrics = classification_metrics(scores, torch.tensor([1, 2]), class_names=("a", "b", "c"))
    assert json.loads(json.dumps(metrics)) == {
        "acc1": 50.0,
        "acc5": None,
        "per_class": {"a": None, "b": 100.0, "c": 0.0},
        "mean_per_class": 50.0,
        "confusion": [[0, 0, 0], [0, 1, 0], [0, 1, 0]],
        "num_images": 2,
    }


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64), r"\(3, 2\)"),
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), "at least one image"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), "0 to 3"),
        (torch.zeros(2, 3), torch.tensor([0, -1]), "-1 to 0"),
        (torch.full((2, 3), torch.nan), torch.tensor([0, 1]), "scores contain NaN"),
    ],
)
def test_metrics_of_arguments_that_do_not_fit_are_refused(
    scores: torch.Tensor, labels: torch.Tensor, message: str
) -> None:
    """NaN, which is below nothing, counted as 100 %; unlabelled images counted as wrong."""
    with pytest.raises(ConfigError, match=message):
        classification_metrics(scores, labels, class_names=("a", "b", "c"))
