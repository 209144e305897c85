"""Judges a frozen backbone by its features of labelled images: every task on the same ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from massrl.data.sources import Source, with_classes
from massrl.errors import ConfigError, DataError, suggest
from massrl.evaluation.features import Features
from massrl.evaluation.knn import knn_predict
from massrl.evaluation.linear import linear_probe
from massrl.evaluation.metrics import classification_metrics
from massrl.options import EvaluateConfig


def judge(
    train: Features, test: Features, config: EvaluateConfig, *, class_names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Carry out the tasks of a configuration.

    Args:
        train: features that k-NN remembers and the probe learns from; every choice, such as the
            probe's regularisation, is made on these alone.
        test: features that are only ever predicted.
        config: ``task``, and what the tasks are set by.
        class_names: of both, by label.

    Returns:
        For each task its figures in percent (``acc1``, ``acc5``, ``per_class``), what was chosen, and
        the ``seconds`` it took.

    Raises:
        ConfigError: if a task is unknown.
    """
    check_tasks(config.task)
    results: dict[str, dict[str, Any]] = {}
    for task in config.task:
        begin = time.perf_counter()
        scores, chosen = TASKS[task](train, test, len(class_names), config)
        metrics = classification_metrics(scores, test.labels, class_names=class_names)
        seconds = round(time.perf_counter() - begin, 2)
        results[task] = {**metrics, **chosen, "seconds": seconds}
    return results


def check_tasks(tasks: Iterable[str]) -> None:
    """Refuse a task that does not exist, before anything is computed for it."""
    for task in tasks:
        if task not in TASKS:
            raise ConfigError(f"unknown task {task!r}: {suggest(task, TASKS)} (--task)")


def in_same_classes(train: Source, test: Source) -> Source:
    """The images to predict, their labels counted as those to learn from; they may lack some classes.

    Raises:
        DataError: if a set has no labels, or the images to predict have a class of their own.
    """
    for source, flag in ((train, "--data.train"), (test, "--data.val")):
        if source.labels is None:
            raise DataError(
                f"{source.name} has no labels to judge by: a folder with one sub-folder per class, "
                f"or the name of a data set, is wanted ({flag})"
            )
    unknown = sorted(set(test.class_names) - set(train.class_names))
    if unknown:
        raise DataError(
            f"{test.name} has classes that {train.name} has not, such as {unknown[:3]} (--data.val)"
        )
    return test if test.class_names == train.class_names else with_classes(test, train.class_names)


Outcome = tuple[torch.Tensor, dict[str, Any]]


def _knn(train: Features, test: Features, num_classes: int, config: EvaluateConfig) -> Outcome:
    k = min(config.k, len(train))
    scores = knn_predict(
        train.values,
        train.labels,
        test.values,
        num_classes=num_classes,
        k=k,
        temperature=config.temperature,
    )
    return scores, {"k": k, "temperature": config.temperature}


def _linear(train: Features, test: Features, num_classes: int, config: EvaluateConfig) -> Outcome:
    result = linear_probe(train, test, num_classes=num_classes, seed=config.seed)
    return result.scores, {
        "strength": result.strength,
        "converged": result.converged,
        "holdout_accuracy": {
            f"{strength:g}": value for strength, value in result.holdout_accuracy.items()
        },
    }


TASKS: dict[str, Callable[[Features, Features, int, EvaluateConfig], Outcome]] = {
    "knn": _knn,
    "linear": _linear,
}
