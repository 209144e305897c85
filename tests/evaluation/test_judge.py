"""From features to figures: the settings of each task reach it."""

from __future__ import annotations

import torch

from massrl.evaluation.features import Features
from massrl.evaluation.judge import judge
from massrl.options import EvaluateConfig

# One neighbour of class 0 in the very direction asked for, two of class 1 a little off it.
KNOWN = Features(torch.tensor([[1.0, 0.0], [1.0, 0.3], [1.0, 0.35]]), torch.tensor([0, 1, 1]))
ASKED = Features(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))


def test_neighbours_and_temperature_of_knn_are_those_asked_for() -> None:
    """Guards ``--k`` and ``--temperature`` against being parsed and ignored."""
    for k, temperature, right in ((3, 0.01, 100.0), (3, 10.0, 0.0), (1, 10.0, 100.0)):
        config = EvaluateConfig(task=("knn",), k=k, temperature=temperature)
        figures = judge(KNOWN, ASKED, config, class_names=("a", "b"))["knn"]
        assert (figures["acc1"], figures["k"]) == (right, k)
        assert figures["temperature"] == temperature
