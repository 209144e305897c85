"""From features to figures: the settings of each task reach it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.evaluation.conftest import colours

from massrl.config.evaluation import EvaluateConfig
from massrl.errors import ConfigError
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.features import Features
from massrl.evaluation.results import task_title
from massrl.evaluation.run import chosen_tasks, judge

# One neighbour of class 0 in the very direction asked for, two of class 1 a little off it.
KNOWN = Features(torch.tensor([[1.0, 0.0], [1.0, 0.3], [1.0, 0.35]]), torch.tensor([0, 1, 1]))
ASKED = Features(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))


def test_neighbours_and_temperature_of_knn_are_those_asked_for(subject: EvaluationContext) -> None:
    """Guards ``--k`` and ``--temperature`` against being parsed and ignored."""
    train, test = colours(3, seed=0), colours(1, seed=1)
    placed = replace(
        subject, train=train, test=test, extract=lambda _, part: KNOWN if part is train else ASKED
    )
    for k, temperature, right in ((3, 0.01, 100.0), (3, 10.0, 0.0), (1, 10.0, 100.0)):
        config = EvaluateConfig(task=("knn",), k=k, temperature=temperature)
        figures = judge(placed, config)["knn"]
        assert (figures["acc1"], figures["k"]) == (right, k)
        assert figures["temperature"] == temperature


def test_all_tasks_are_those_there_are_and_each_comes_once() -> None:
    """Guards ``--task all``, and a task that is named twice."""
    every = [
        "knn",
        "linear",
        "linear-sgd",
        "semi-supervised",
        "features",
        "transfer",
        "detect",
        "segment",
    ]
    assert chosen_tasks(["knn", "all"]) == every
    assert chosen_tasks(["semi-supervised", "knn", "semi-supervised"]) == ["semi-supervised", "knn"]
    with pytest.raises(ConfigError, match=r"unknown task 'lineer': did you mean 'linear'.*--task"):
        chosen_tasks(["lineer"])


def test_outcomes_have_names_for_people() -> None:
    """Guards the page's headings."""
    assert [
        task_title(name)
        for name in (
            "knn",
            "semi-supervised-1",
            "semi-supervised-0.5",
            "semi-supervised-1percent",
            "own",
        )
    ] == [
        "k-NN",
        "fine-tuned on 1 % of the labels",
        "fine-tuned on 0.5 % of the labels",
        "fine-tuned on the list 1percent",
        "own",
    ]
