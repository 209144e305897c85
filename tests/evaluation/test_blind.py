"""No test image or label reaches a choice: every task is asked twice, with other test images and labels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from tests.evaluation.conftest import colours, subject_of

from massrl.evaluate_options import EvaluateConfig, SemiConfig, SgdConfig
from massrl.evaluation import judge as module
from massrl.evaluation.judge import TASKS, Outcome, Task
from massrl.evaluation.linear import STRENGTHS, linear_probe
from massrl.evaluation.subject import Subject

CONFIG = EvaluateConfig(
    k=5,
    sgd=SgdConfig(epochs=2, batch_size=16, rates=(30.0, 1.0)),
    semi=SemiConfig(shares=(0.5,), rates=(0.001, 0.3), epochs=(2,), batch_size=8),
)


def outcomes(task: str, *, test_seed: int, shuffled: bool) -> list[Outcome]:
    """What a task says of forty test images, whose labels may be wrong."""
    test = colours(40, seed=test_seed)
    if shuffled:
        assert test.labels is not None
        test.labels = np.roll(test.labels, 1)
    return list(TASKS[task].run(subject_of(colours(80, seed=0), test), CONFIG))


def assert_blind(task: str) -> None:
    """Scores do not depend on test labels, and choices on nothing of the test set."""
    known, mislabelled, others = (
        outcomes(task, test_seed=seed, shuffled=shuffled)
        for seed, shuffled in ((1, False), (1, True), (2, False))
    )
    for first, second, third in zip(known, mislabelled, others, strict=True):
        assert torch.equal(first.scores, second.scores)
        assert first.chosen == second.chosen == third.chosen


@pytest.mark.parametrize("task", TASKS)
def test_task_is_blind_to_the_test_set(task: str) -> None:
    """Guards every figure against a choice that was made by the images it is reported on."""
    assert_blind(task)


def leaky(subject: Subject, config: EvaluateConfig) -> Iterator[Outcome]:
    """A probe whose regularisation is chosen on the test images."""
    results = [
        linear_probe(subject.known, subject.asked, num_classes=4, strengths=[strength])
        for strength in STRENGTHS
    ]
    right = [
        float((item.scores.argmax(1) == subject.asked.labels).float().mean()) for item in results
    ]
    best = results[int(np.argmax(right))]
    yield Outcome("linear", best.scores, {"strength": best.strength})


def test_leak_that_is_planted_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the test above: it must be able to fail."""
    monkeypatch.setitem(module.TASKS, "linear", Task("linear probe", leaky))
    with pytest.raises(AssertionError):
        assert_blind("linear")
