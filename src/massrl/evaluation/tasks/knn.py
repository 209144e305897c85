"""Weighted k-nearest-neighbour classification: a judgement without any training."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from massrl.config.evaluation import EvaluateConfig
from massrl.errors import ConfigError
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.task import TaskResult


@torch.no_grad()
def knn_predict(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    *,
    num_classes: int,
    k: int = 20,
    temperature: float = 0.07,
    chunk: int = 1024,
    exclude_self: bool = False,
) -> Tensor:
    """Let the k most similar labelled images vote, the more similar the louder.

    Similarity is the cosine; a vote weighs ``exp(cosine / temperature)``. The votes of a query are
    divided by their sum, which changes no order and cannot overflow.

    Args:
        bank: ``(m, D)``, features of labelled images, of any length.
        bank_labels: int64 ``(m,)``, in 0 … ``num_classes - 1``.
        queries: ``(n, D)``, features to classify.
        num_classes: number of classes.
        k: number of neighbours.
        temperature: how fast a vote fades with the distance.
        chunk: queries compared at a time; memory is ``chunk · m`` numbers.
        exclude_self: query i is the bank's row i and has no vote in its own case (leave-one-out).

    Returns:
        float32 ``(n, num_classes)``; each row sums to 1.

    Raises:
        ConfigError: if k, the temperature or a label is out of range, or shapes do not fit.

    Source: Wu et al., arXiv 1805.01978, section 3.4.
    """
    _check(bank, bank_labels, queries, num_classes=num_classes, exclude_self=exclude_self)
    most = len(bank) - exclude_self
    if not 1 <= k <= most:
        raise ConfigError(
            f"k-NN with k = {k} neighbours, but 1 to {most}, the number of labelled images to "
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
            f"{num_classes - 1} are accepted; every image it compares with must be labelled"
        )
    if exclude_self and len(queries) != len(bank):
        raise ConfigError(
            f"leave-one-out k-NN with {len(queries)} queries and {len(bank)} images: they must be "
            "the same"
        )


def _knn(subject: EvaluationContext, config: EvaluateConfig) -> Iterator[TaskResult]:
    known = subject.train_features
    k = min(config.k, len(known))
    scores = knn_predict(
        known.values.to(subject.device),
        known.labels.to(subject.device),
        subject.test_features.values.to(subject.device),
        num_classes=subject.num_classes,
        k=k,
        temperature=config.temperature,
    )
    yield TaskResult("knn", scores, {"k": k, "temperature": config.temperature})
