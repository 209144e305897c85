"""Running tasks: each on the images that it needs, in order, and skipped only where all are asked for."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.conftest import photos
from tests.evaluation.conftest import CPU, Backbone, about, colours, context_of

from massrl.config.evaluation import EvaluateConfig, EvaluationDataConfig, TransferConfig
from massrl.data.source import Source
from massrl.errors import ConfigError, DataError
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.data import EvaluationData
from massrl.evaluation.features import Features
from massrl.evaluation.run import run_tasks

# One neighbour of class 0 in the very direction of the query, two of class 1 a little off it.
BANK = Features(torch.tensor([[1.0, 0.0], [1.0, 0.3], [1.0, 0.35]]), torch.tensor([0, 1, 1]))
QUERY = Features(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))


class Placed(EvaluationContext):
    """A context with features placed by hand."""

    def extract(self, network: torch.nn.Module, source: Source) -> Features:
        """Return those of the training or the test images."""
        return BANK if source is self.train else QUERY


def test_neighbours_and_temperature_of_knn_are_those_asked_for() -> None:
    """Guards ``--k`` and ``--temperature`` against being parsed and ignored."""
    data = EvaluationData(colours(3, seed=0), colours(1, seed=1))
    context = Placed(network=Backbone(), about=about(8), hardware=CPU, data=data)
    for k, temperature, right in ((3, 0.01, 100.0), (3, 10.0, 0.0), (1, 10.0, 100.0)):
        config = EvaluateConfig(task=("knn",), k=k, temperature=temperature)
        (result,) = run_tasks(context, config)
        assert (result.metrics["acc1"], result.settings["k"]) == (right, k)
        assert result.settings["temperature"] == temperature


def test_results_come_in_the_order_asked_for_with_seconds_and_context(
    context: EvaluationContext,
) -> None:
    """Guards what is written after each task: its images, and how long it took."""
    results = list(run_tasks(context, EvaluateConfig(task=("linear", "knn"))))
    assert [result.name for result in results] == ["linear", "knn"]
    assert all(result.context is context for result in results)
    assert all(result.seconds >= 0 for result in results)
    assert results[0].to_dict()["seconds"] == results[0].seconds


def without_data(context: EvaluationContext) -> EvaluationContext:
    return replace(context, data=None)


def test_images_of_a_need_are_opened_once_and_shared(
    context: EvaluationContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards features against being extracted once per task."""
    from massrl.evaluation import run

    opened, real = [], run.open_images

    def counted(need: str, *arguments: object) -> EvaluationData:
        opened.append(need)
        return real(need, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "open_images", counted)
    data = EvaluationDataConfig(train="shapes(count=20,size=16)", val="shapes(count=10,size=16)")
    config = EvaluateConfig(task=("knn", "linear"), data=data)
    first, second = run_tasks(without_data(context), config)
    assert opened == ["images"]
    assert first.context is second.context


def test_images_are_given_up_after_the_last_task_that_needs_them(
    context: EvaluationContext, plugin: Callable[..., Path]
) -> None:
    """Guards memory: features of a large data set must not outlive the tasks on it."""
    plugin(PLUGIN.replace("NEED", "'objects'"), {"massrl.tasks": {"counts": "my_plugin:Counts"}})
    data = EvaluationDataConfig(train="shapes(count=20,size=16)", val="shapes(count=10,size=16)")
    config = EvaluateConfig(task=("knn", "linear", "counts"), data=data)
    alive = []
    used: weakref.ref[EvaluationContext] | None = None
    for result in run_tasks(without_data(context), config):
        if used is None:
            assert result.context is not None
            used = weakref.ref(result.context)
        del result
        gc.collect()
        alive.append(used() is not None)
    assert alive == [True, True, False]


def test_images_that_are_missing_are_an_error_before_any_task_runs(
    context: EvaluationContext, tmp_path: Path
) -> None:
    """Guards hours of computing against an error that could be seen at the start."""
    folder = photos(tmp_path / "photos", "a", "b", count=10)
    data = EvaluationDataConfig(train=str(folder))
    results = run_tasks(without_data(context), EvaluateConfig(task=("knn", "segment"), data=data))
    with pytest.raises(ConfigError, match="no stages"):
        next(results)
    config = EvaluateConfig(task=("knn", "transfer"), data=data)
    with pytest.raises(ConfigError, match=r"--task transfer needs data sets: --transfer\.sets"):
        next(run_tasks(without_data(context), config))
    nothing = EvaluateConfig(task=("knn",), data=EvaluationDataConfig())
    with pytest.raises(DataError, match="no labelled images"):
        next(run_tasks(without_data(context), nothing))


def test_all_runs_what_the_images_allow(
    context: EvaluationContext, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards ``all`` on a plain folder, and without anything to run on."""
    caplog.set_level("INFO")
    with pytest.raises(DataError, match="no labelled images"):
        list(run_tasks(without_data(context), EvaluateConfig(task=("all",))))
    other = str(photos(tmp_path / "other", "a", "b", count=10))
    config = EvaluateConfig(task=("all",), transfer=TransferConfig(sets=("nothing", other)))
    results = list(run_tasks(without_data(context), config))
    assert [result.name for result in results] == ["transfer-other"]
    assert "skipped: no labelled images" in caplog.text
    assert "transfer-nothing is skipped" in caplog.text


PLUGIN = """
from massrl.evaluation.task import Task, TaskResult

class Counts(Task):
    title = "counts"
    needs = NEED

    def run(self, context, config):
        yield TaskResult(name=self.name, metrics={"count": len(context.test)})
"""


@pytest.mark.parametrize(("need", "count"), [("images", 10), ("objects", 10), ("sets", 4)])
def test_task_of_another_package_is_given_what_it_needs(
    plugin: Callable[..., Path],
    context: EvaluationContext,
    tmp_path: Path,
    need: str,
    count: int,
) -> None:
    """Guards needs against being those of massrl's own tasks."""
    plugin(PLUGIN.replace("NEED", repr(need)), {"massrl.tasks": {"counts": "my_plugin:Counts"}})
    data = EvaluationDataConfig(train="shapes(count=20,size=16)", val="shapes(count=10,size=16)")
    sets = TransferConfig(sets=(str(photos(tmp_path / "set", "a", "b", count=10)),))
    config = EvaluateConfig(task=("counts",), data=data, transfer=sets)
    (result,) = run_tasks(without_data(context), config)
    assert result.metrics["count"] == count


def test_context_with_images_is_used_for_every_need() -> None:
    """Guards callers who bring their own images, as the demonstration does."""
    context = context_of(colours(20, seed=0), colours(8, seed=1))
    (result,) = run_tasks(context, EvaluateConfig(task=("knn",), data=EvaluationDataConfig()))
    assert result.context is context
