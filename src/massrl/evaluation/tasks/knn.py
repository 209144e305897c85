"""Weighted k-nearest-neighbour classification: an evaluation without any training."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from massrl.config.evaluation import EvaluateConfig
from massrl.errors import ConfigError
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.task import Task, TaskResult, classification_result


@torch.no_grad()
def knn_predict(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    *,
    num_classes: int,
    k: int = EvaluateConfig.k,
    temperature: float = EvaluateConfig.temperature,
    chunk: int = 1024,
    exclude_self: bool = False,
) -> Tensor:
    """Classify features by a weighted vote of their k nearest labelled neighbours.

    Neighbours are those of the highest cosine similarity; a vote has the weight
    ``exp(cosine / temperature)``. The votes of a query are divided by their sum, which changes no
    ranking and cannot overflow.

    Args:
        bank: ``(m, D)``, features of labelled images, of any norm.
        bank_labels: int64 ``(m,)``, in 0 … ``num_classes - 1``.
        queries: ``(n, D)``, features to classify.
        num_classes: number of classes.
        k: number of neighbours.
        temperature: lower values give more weight to the nearest neighbours.
        chunk: queries compared at a time; memory is ``chunk · m`` numbers.
        exclude_self: query i is the bank's row i and is no neighbour of itself (leave-one-out).

    Returns:
        float32 ``(n, num_classes)``; each row sums to 1.

    Raises:
        ConfigError: if k, the temperature or a label is out of range, or shapes do not fit.

    Source: Wu et al., arXiv 1805.01978, section 3.4.
    """
    _check(bank, bank_labels, queries, num_classes=num_classes, exclude_self=exclude_self)
    max_k = len(bank) - exclude_self
    if not 1 <= k <= max_k:
        raise ConfigError(
            f"k-NN with k = {k} neighbours, but 1 to {max_k}, the number of labelled images to "
            "compare with, is accepted (k)"
        )
    if temperature <= 0:
        raise ConfigError(f"temperature of k-NN is {temperature:g}, but more than 0 is wanted")
    bank = F.normalize(bank.float(), dim=1)
    queries = F.normalize(queries.float(), dim=1)
    scores = torch.zeros(len(queries), num_classes, device=bank.device)
    for start in range(0, len(queries), chunk):
        similarity = queries[start : start + chunk] @ bank.T
        if exclude_self:
            similarity.diagonal(start).fill_(-torch.inf)
        nearest, indices = similarity.topk(k, dim=1)
        votes = torch.softmax(nearest / temperature, dim=1)
        scores[start : start + chunk].scatter_add_(1, bank_labels[indices], votes)
    return scores


def _check(
    bank: Tensor, bank_labels: Tensor, queries: Tensor, *, num_classes: int, exclude_self: bool
) -> None:
    if bank.ndim != 2 or queries.ndim != 2 or bank.shape[1] != queries.shape[1]:
        raise ConfigError(
            f"k-NN between features {tuple(queries.shape)} and {tuple(bank.shape)}: (n, D) and "
            "(m, D) are wanted"
        )
    if bank_labels.shape != bank.shape[:1]:
        raise ConfigError(f"k-NN with {len(bank)} features, but {len(bank_labels)} labels")
    if len(bank) and not (0 <= int(bank_labels.min()) <= int(bank_labels.max()) < num_classes):
        raise ConfigError(
            f"k-NN with labels {int(bank_labels.min())} to {int(bank_labels.max())}, but 0 to "
            f"{num_classes - 1} are accepted; every image of the bank must be labelled"
        )
    if exclude_self and len(queries) != len(bank):
        raise ConfigError(
            f"leave-one-out k-NN with {len(queries)} queries and {len(bank)} images: they must be "
            "the same"
        )


class KNearestNeighbours(Task):
    """Weighted k-nearest-neighbour classification of frozen features."""

    title = "k-NN"
    settings = ("k", "temperature")

    def run(self, context: EvaluationContext, config: EvaluateConfig) -> Iterator[TaskResult]:
        """Let the training images vote on the class of each test image."""
        train = context.train_features
        k = min(config.k, len(train))
        scores = knn_predict(
            train.values.to(context.device),
            train.labels.to(context.device),
            context.test_features.values.to(context.device),
            num_classes=context.num_classes,
            k=k,
            temperature=config.temperature,
        )
        settings = {"k": k, "temperature": config.temperature}
        yield classification_result(context, self.name, scores, settings)
