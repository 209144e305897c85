"""Judges a frozen backbone: features once, every task on the same ones."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from massrl.data.sources import Source
from massrl.errors import ConfigError, DataError, suggest
from massrl.evaluation.features import Features, extract_features
from massrl.evaluation.knn import knn_predict
from massrl.evaluation.linear import linear_probe
from massrl.evaluation.metrics import classification_metrics

logger = logging.getLogger("massrl")

Progress = Callable[[str, int, int], None]


def judge(
    backbone: nn.Module,
    train: Source,
    test: Source,
    *,
    tasks: Sequence[str],
    side: int,
    k: int = 20,
    temperature: float = 0.07,
    workers: int = 1,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, dict[str, Any]]:
    """Judge a backbone by its features of labelled images.

    Args:
        backbone: images ``(B, 3, H, W)`` to features ``(B, D)``; it is not changed.
        train: labelled images that k-NN remembers and the probe learns from; every choice, such as
            the probe's regularisation, is made on these alone.
        test: labelled images that are only ever predicted.
        tasks: ``knn``, ``linear``.
        side: side of the images, pixels.
        k: neighbours that vote.
        temperature: temperature of their votes.
        workers: threads that decode.
        device: where features are computed.
        seed: of the split that chooses the probe's regularisation.
        progress: called with what is being done, how many of how many are done.

    Returns:
        For each task its figures in percent (``acc1``, ``acc5``, ``per_class``) and what was chosen.

    Raises:
        ConfigError: if a task is unknown.
        DataError: if labels are missing or of different classes.
    """
    for task in tasks:
        if task not in TASKS:
            raise ConfigError(f"unknown task {task!r}: {suggest(task, TASKS)} (--task)")
    check_labels(train, test)
    backbone = backbone.to(device)

    def features(source: Source) -> Features:
        def report(done: int, total: int) -> None:
            if progress is not None:
                progress(f"features of {source.name}", done, total)

        return extract_features(
            backbone, source, side=side, device=device, workers=workers, progress=report
        )

    begin = time.perf_counter()
    known, asked = features(train), features(test)
    extraction = time.perf_counter() - begin
    results: dict[str, dict[str, Any]] = {}
    for task in tasks:
        begin = time.perf_counter()
        scores, chosen = TASKS[task](known, asked, len(train.class_names), k, temperature, seed)
        metrics = classification_metrics(scores, asked.labels, class_names=train.class_names)
        seconds = {"features": round(extraction, 2), "task": round(time.perf_counter() - begin, 2)}
        results[task] = {**metrics, **chosen, "seconds": seconds}
    return results


def check_labels(train: Source, test: Source) -> None:
    """Refuse images without labels, and two sets whose classes differ."""
    for source, flag in ((train, "--data.train"), (test, "--data.val")):
        if source.labels is None:
            raise DataError(
                f"{source.name} has no labels to judge by: a folder with one sub-folder per class, "
                f"or the name of a data set, is wanted ({flag})"
            )
    if train.class_names != test.class_names:
        different = sorted(set(train.class_names) ^ set(test.class_names))
        raise DataError(
            f"{train.name} and {test.name} have different classes, such as {different[:3]} (--data.val)"
        )


Outcome = tuple[torch.Tensor, dict[str, Any]]


def _knn(
    train: Features, test: Features, num_classes: int, k: int, temperature: float, seed: int
) -> Outcome:
    k = min(k, len(train.labels))
    scores = knn_predict(
        train.values,
        train.labels,
        test.values,
        num_classes=num_classes,
        k=k,
        temperature=temperature,
    )
    return scores, {"k": k, "temperature": temperature}


def _linear(
    train: Features, test: Features, num_classes: int, k: int, temperature: float, seed: int
) -> Outcome:
    result = linear_probe(train, test, num_classes=num_classes, seed=seed)
    return result.scores, {
        "strength": result.strength,
        "converged": result.converged,
        "holdout_accuracy": {
            f"{strength:g}": value for strength, value in result.holdout_accuracy.items()
        },
    }


TASKS: dict[str, Callable[[Features, Features, int, int, float, int], Outcome]] = {
    "knn": _knn,
    "linear": _linear,
}
