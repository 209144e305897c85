"""Tasks by name: the table's, those of other packages, and results that lead back to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from massrl.config.evaluation import EvaluateConfig
from massrl.errors import ConfigError, DataError
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.task import (
    Task,
    TaskResult,
    build_tasks,
    classification_result,
    skip_on_error,
    task_of,
    text_keys,
)
from massrl.evaluation.tasks.linear import LinearProbe
from massrl.evaluation.tasks.linear_sgd import LinearSgd
from massrl.evaluation.tasks.semi import SemiSupervised
from massrl.evaluation.tasks.transfer import Transfer
from massrl.registry import TASKS

PLUGIN = """
from massrl.evaluation.task import Task, TaskResult

class Constant(Task):
    title = "constant"

    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha

    def run(self, context, config):
        yield TaskResult(name=self.name, metrics={"acc1": self.alpha})

class Unfit(Constant):
    needs = "sounds"

def no_task():
    return 3
"""


def test_all_is_the_table_in_its_order_and_each_task_comes_once() -> None:
    """Guards ``--task all``, and a task that is named twice."""
    assert [task.name for task in build_tasks(["all"])] == list(TASKS)
    assert next(task.name for task in build_tasks(["linear", "all"])) == "linear"
    assert len(build_tasks(["knn", "all", "knn"])) == len(TASKS)
    assert [task.name for task in build_tasks(["detect", "knn", "detect"])] == ["detect", "knn"]


@pytest.mark.parametrize("name", TASKS)
def test_task_of_the_table_carries_its_facts(name: str) -> None:
    """Guards pages and comparisons, which ask the task and never its name."""
    (task,) = build_tasks([name])
    assert task.title
    known = set(EvaluateConfig.__dataclass_fields__)
    assert set(task.settings) <= known
    assert task.name == name


def test_unknown_task_is_refused_with_those_there_are() -> None:
    """Guards a typing mistake in Python, where no configuration was checked."""
    with pytest.raises(ConfigError, match=r"unknown task 'lineer': did you mean 'linear'.*--task"):
        build_tasks(["lineer"])
    with pytest.raises(ConfigError, match="knn has no argument 'k'"):
        build_tasks(["knn(k=3)"])


def test_task_of_another_package_takes_arguments_and_is_named_by_them(
    plugin: Callable[..., Path],
) -> None:
    """Guards two runs of one task with other settings against one name."""
    plugin(PLUGIN, {"massrl.tasks": {"constant": "my_plugin:Constant"}})
    tasks = build_tasks(["constant", "constant(alpha=2)", "constant( alpha = 2 )"])
    assert [task.name for task in tasks] == ["constant", "constant(alpha=2)"]
    found = task_of("constant(alpha=2)")
    assert found is not None
    assert (found[0], found[1].__name__) == ("constant", "Constant")
    assert "constant" in [task.name for task in build_tasks(["all"])]


def test_part_of_another_package_that_is_no_task_is_refused(
    plugin: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Guards a run against an object that fails in its middle, and ``all`` against such a package."""
    rows = {"unfit": "my_plugin:Unfit", "none": "my_plugin:no_task", "lost": "my_plugin:nothing"}
    plugin(PLUGIN, {"massrl.tasks": rows})
    with pytest.raises(ConfigError, match="task 'unfit' needs 'sounds': known: images"):
        build_tasks(["unfit"])
    with pytest.raises(ConfigError, match="'none' of package my_plugin is no"):
        build_tasks(["none"])
    with pytest.raises(ConfigError, match="'lost' of package my_plugin cannot be loaded"):
        build_tasks(["lost"])
    assert task_of("none") is None
    assert task_of("lost") is None
    assert len(build_tasks(["all"])) == len(TASKS) - 3
    assert caplog.text.count("is skipped") == 3


@pytest.mark.parametrize(
    ("result", "task"),
    [
        ("linear", LinearProbe),
        ("linear-sgd", LinearSgd),
        ("semi-supervised-0.5", SemiSupervised),
        ("transfer-linear-sgd", Transfer),
        ("transfer-shapes(count=60)-finetuned", Transfer),
    ],
)
def test_result_leads_to_the_task_with_the_longest_name(result: str, task: type[Task]) -> None:
    """Guards against ``linear`` answering for ``linear-sgd``."""
    found = task_of(result)
    assert found is not None
    assert found[1] is task


def test_result_of_a_task_that_is_not_installed_leads_nowhere() -> None:
    """Guards a page of results from another machine."""
    assert task_of("mine") is None
    assert task_of("knnx") is None
    assert task_of("") is None


def test_scores_become_accuracies_of_the_test_images(context: EvaluationContext) -> None:
    """Guards the labels that scores are compared with."""
    scores = torch.nn.functional.one_hot(context.test_features.labels, 4).float()
    result = classification_result(context, "x", scores, {"k": 3})
    assert result.metrics["acc1"] == 100.0
    assert result.metrics["num_images"] == 40
    assert list(result.to_dict())[-2:] == ["k", "seconds"]
    assert result.scores is scores


def test_numbers_become_texts() -> None:
    """Guards JSON, whose keys are texts."""
    assert text_keys({0.001: 1.0, 10.0: 2.0}) == {"0.001": 1.0, "10": 2.0}


def test_error_is_skipped_for_all_tasks_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Guards a task that was asked for against being left out, and ``all`` against ending."""

    def fail(*tasks: str) -> None:
        with skip_on_error("knn", EvaluateConfig(task=tasks)):
            raise DataError("no images")

    with pytest.raises(DataError):
        fail("knn")
    fail("all")
    assert "knn is skipped: no images" in caplog.text


class Named(Task):
    """A task without a title of its own for results."""

    title = "my task"

    def run(self, context: EvaluationContext, config: EvaluateConfig) -> Iterator[TaskResult]:
        """Measure nothing."""
        yield TaskResult(name=self.name, metrics={})


def test_result_is_titled_by_its_task_and_its_detail() -> None:
    """Guards tasks of other packages, which need no method for it."""
    assert Named.result_title("") == "my task"
    assert Named.result_title("(alpha=2)") == "my task (alpha=2)"
