"""Configuration of evaluations: defaults, choices, and values that are refused."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from massrl.config.evaluation import (
    ALL,
    CompareConfig,
    DetectConfig,
    EvaluateConfig,
    EvaluationDataConfig,
    FeaturesConfig,
    SegmentConfig,
    SemiConfig,
    SgdConfig,
    TransferConfig,
)
from massrl.config.foreign import ForeignConfig
from massrl.config.parser import make
from massrl.errors import ConfigError
from massrl.registry import TASKS

SECTIONS: dict[str, type] = {
    "data": EvaluationDataConfig,
    "model": ForeignConfig,
    "sgd": SgdConfig,
    "semi": SemiConfig,
    "transfer": TransferConfig,
    "detect": DetectConfig,
    "segment": SegmentConfig,
    "features": FeaturesConfig,
}


def test_sections_are_all_tested_below() -> None:
    """Guards a new section against defaults that nobody has seen checked."""
    factories = {item.name: item.default_factory for item in fields(EvaluateConfig)}
    assert {name: kind for name, kind in factories.items() if isinstance(kind, type)} == SECTIONS


@pytest.mark.parametrize("task", [*TASKS, ALL, "knn()"])
def test_every_task_of_the_table_is_accepted(task: str) -> None:
    """Guards ``--task`` against a list of its own."""
    assert EvaluateConfig(task=(task,)).task == (task,)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (EvaluateConfig, {"task": ()}, "--task is empty"),
        (EvaluateConfig, {"task": ("lineer",)}, "--task is 'lineer': did you mean 'linear'"),
        (EvaluateConfig, {"task": ("knn(",)}, "'knn\\(' is not of the form"),
        (EvaluateConfig, {"k": 0, "seed": -1}, "--k is 0.*--seed is -1"),
        (EvaluateConfig, {"temperature": 0.0}, "--temperature is 0"),
        (EvaluationDataConfig, {"on_error": "ignore"}, "--data.on_error is 'ignore'"),
        (ForeignConfig, {"stem": "auto"}, "--model.stem is .auto.: known"),
        (SgdConfig, {"lrs": ()}, "--sgd.lrs is empty"),
        (SgdConfig, {"lrs": (0.1, -1.0)}, "--sgd.lrs is -1"),
        (SgdConfig, {"holdout": 1.0}, "--sgd.holdout is 1"),
        (SgdConfig, {"epochs": 0, "batch_size": 0}, "--sgd.epochs is 0.*--sgd.batch_size is 0"),
        (SemiConfig, {"fractions": (0.1, 2.0)}, "--semi.fractions is 2"),
        (SemiConfig, {"protocol": "byoll"}, "--semi.protocol is 'byoll': did you mean 'byol'"),
        (SemiConfig, {"lrs": (0.0,)}, "--semi.lrs is 0"),
        (SemiConfig, {"epochs": (0,), "batch_size": 1}, "--semi.epochs is 0.*--semi.batch_size"),
        (TransferConfig, {"lrs": ()}, "--transfer.lrs and --transfer.epochs must not be empty"),
        (TransferConfig, {"batch_size": 1}, "--transfer.batch_size is 1"),
        (DetectConfig, {"head": "fpm"}, "--detect.head is 'fpm': did you mean 'fpn'"),
        (DetectConfig, {"size": 8, "lr": 0.0}, "--detect.lr is 0.*--detect.size is 8"),
        (SegmentConfig, {"head": "fcm"}, "--segment.head is 'fcm': did you mean 'fcn'"),
        (SegmentConfig, {"batch_size": 1}, "--segment.batch_size is 1"),
        (FeaturesConfig, {"points": 0, "rows": 0}, "--features.points is 0.*--features.rows is 0"),
        (CompareConfig, {"folders": ("a",)}, "two or more folders"),
    ],
)
def test_value_out_of_range_is_refused_with_its_flag(
    kind: type, values: dict[str, Any], message: str
) -> None:
    """Guards hours of computing against a value that cannot work; all faults come at once."""
    with pytest.raises(ConfigError, match=message):
        kind(**values)


def test_list_on_the_command_line_keeps_the_arguments_of_a_task() -> None:
    """Guards ``--task "knn,mine(a=1,b=2)"``: a comma within brackets separates nothing."""
    with pytest.raises(ConfigError, match="--task is 'mine'"):
        make(EvaluateConfig, arguments=["--task=knn,mine(a=1,b=2)"])
    config = make(EvaluateConfig, arguments=["--task=knn,linear", "--sgd.lrs=0.1,1"])
    assert (config.task, config.sgd.lrs) == (("knn", "linear"), (0.1, 1.0))


def test_broken_images_are_skipped_where_it_is_asked_for() -> None:
    """Guards the default, by which an evaluation stops at its first broken image."""
    assert not EvaluationDataConfig().skips_broken
    assert EvaluationDataConfig(on_error="skip").skips_broken
