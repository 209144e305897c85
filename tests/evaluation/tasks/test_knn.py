"""Weighted k-NN against a NumPy loop, scikit-learn and cases placed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from tests.reference.knn import knn_scores
from torch import Tensor

from massrl.errors import ConfigError
from massrl.evaluation.tasks.knn import knn_predict


def _data(count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 4, count)
    values = generator.normal(size=(count, 6)) + 0.7 * np.eye(4, 6)[labels]
    values *= generator.uniform(0.1, 10, size=(count, 1))  # lengths must not matter
    return torch.tensor(values, dtype=torch.float32), torch.tensor(labels)


@pytest.mark.parametrize("k", [1, 7, 60])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_knn_equals_a_loop_over_images(k: int, temperature: float) -> None:
    """Features that are not normalised, or votes that are not weighed by exp(cosine / T)."""
    bank, labels = _data(60, 0)
    queries, _ = _data(25, 1)
    options = {"num_classes": 4, "k": k, "temperature": temperature}
    wanted = knn_scores(bank.numpy(), labels.numpy(), queries.numpy(), **options)
    got = knn_predict(bank, labels, queries, **options)
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-4, atol=1e-6)


def test_knn_equals_scikit_learn_with_the_same_weights() -> None:
    """A misreading of the formula that the loop, by the same hand, would share."""
    bank, labels = _data(80, 2)
    queries, _ = _data(30, 3)

    def weigh(distances: np.ndarray) -> np.ndarray:
        return np.exp((1 - distances) / 0.1)  # scikit-learn's cosine distance is 1 - cosine

    theirs = KNeighborsClassifier(9, weights=weigh, metric="cosine", algorithm="brute")
    theirs.fit(bank.numpy(), labels.numpy())
    got = knn_predict(bank, labels, queries, num_classes=4, k=9, temperature=0.1)
    wanted = theirs.predict_proba(queries.numpy())
    np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("chunk", [1, 7, 25, 1000])
def test_knn_in_chunks_gives_the_same_scores(chunk: int) -> None:
    """A last chunk that is lost, or a diagonal that does not move along with the chunks."""
    bank, labels = _data(25, 4)
    for exclude_self in (False, True):
        options = {"num_classes": 4, "k": 5, "exclude_self": exclude_self}
        whole = knn_predict(bank, labels, bank, **options)
        torch.testing.assert_close(knn_predict(bank, labels, bank, chunk=chunk, **options), whole)


def test_knn_leaving_itself_out_equals_a_loop() -> None:
    """An image that votes for itself makes every accuracy too good."""
    bank, labels = _data(30, 5)
    options = {"num_classes": 4, "k": 3, "temperature": 0.07, "exclude_self": True}
    wanted = knn_scores(bank.numpy(), labels.numpy(), bank.numpy(), **options)
    got = knn_predict(bank, labels, bank, chunk=8, **options)
    np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-4, atol=1e-6)
    with_itself = knn_predict(bank, labels, bank, num_classes=4, k=1)
    assert torch.equal(with_itself.argmax(1), labels)


def test_knn_leaving_itself_out_does_so_against_an_opposite_image() -> None:
    """An image that is made as dissimilar as can be, instead of being left out."""
    bank = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    scores = knn_predict(bank, torch.tensor([0, 1]), bank, num_classes=2, k=1, exclude_self=True)
    assert scores.tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_knn_with_a_tie_gives_both_classes_the_same_score() -> None:
    """A tie decided by the order of the bank instead of being seen as one."""
    bank = torch.tensor([[0.0, 1.0], [0.0, -1.0], [-1.0, 0.0]])
    scores = knn_predict(
        bank, torch.tensor([2, 1, 0]), torch.tensor([[3.0, 0.0]]), num_classes=3, k=2
    )
    assert scores.tolist() == [[0.0, 0.5, 0.5]]


def test_knn_at_a_tiny_temperature_does_not_overflow() -> None:
    """exp(1 / 0.001) is infinite, and infinity over infinity no number."""
    bank, labels = _data(20, 6)
    scores = knn_predict(bank, labels, bank, num_classes=4, k=5, temperature=0.001)
    torch.testing.assert_close(scores.sum(1), torch.ones(20))
    assert torch.equal(scores.argmax(1), labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 11}, "k = 11 .* 1 to 10"),
        ({"k": 10, "exclude_self": True}, "k = 10 .* 1 to 9"),
        ({"k": 0}, "k = 0"),
        ({"k": 3, "temperature": 0.0}, "temperature"),
        ({"k": 3, "num_classes": 2}, "0 to 1 are accepted"),
        ({"k": 3, "bank_labels": torch.full((10,), -1)}, "must be labelled"),
        ({"k": 3, "bank_labels": torch.zeros(9, dtype=torch.int64)}, "9 labels"),
        ({"k": 3, "queries": torch.ones(2, 5)}, r"\(2, 5\)"),
        ({"k": 3, "queries": torch.ones(2, 6), "exclude_self": True}, "must be the same"),
    ],
)
def test_knn_with_arguments_that_do_not_fit_says_which(
    options: dict[str, object], message: str
) -> None:
    """A topk or index error from inside torch, or unlabelled images that vote for a class."""
    bank, _ = _data(10, 7)
    given = {"bank_labels": torch.arange(10) % 4, "queries": bank, "num_classes": 4, **options}
    with pytest.raises(ConfigError, match=message):
        knn_predict(bank, **given)
