"""Sections of options: what they refuse."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from typing import Any

import pytest

from massrl.commands import COMMANDS
from massrl.config.evaluation import EvaluateConfig
from massrl.config.fields import section_of
from massrl.config.pretrain import TrainConfig
from massrl.config.sections import (
    DataConfig,
    MethodConfig,
    ModelConfig,
    OptimConfig,
    ProjectorConfig,
    ViewsConfig,
)
from massrl.errors import ConfigError


def _with_sections(kind: type) -> set[type]:
    """A dataclass of options and all those within it."""
    inner = filter(None, map(section_of, dataclasses.fields(kind)))
    return {kind}.union(*map(_with_sections, inner))


def _options(target: str) -> type:
    module, _, name = target.partition(":")
    kind: type = getattr(import_module(module), name)
    return kind


KINDS = set[type]().union(
    *(_with_sections(_options(row.options)) for row in COMMANDS.values() if row.options)
)
NEEDED: dict[str, dict[str, Any]] = {"CompareConfig": {"folders": ("a", "b")}}


@pytest.mark.parametrize("kind", sorted(KINDS, key=str), ids=lambda kind: kind.__name__)
def test_section_is_frozen_keyword_only_and_has_defaults(kind: Any) -> None:
    """Guards against a derived value written back, and fields that change their place."""
    made = kind(**NEEDED.get(kind.__name__, {}))
    name = dataclasses.fields(kind)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, name, None)
    with pytest.raises(TypeError):
        kind("positional")


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (DataConfig, {"on_error": "stopp"}, "--data.on_error is 'stopp': did you mean 'stop'"),
        (DataConfig, {"batch_size": 0}, "--data.batch_size is 0, but 1 or more"),
        (DataConfig, {"limit": -1}, "--data.limit is -1"),
        (DataConfig, {"workers": -1}, "--data.workers is -1, but 0 or more"),
        (DataConfig, {"std": (0.2, 0.0, 0.2)}, "--data.std"),
        (DataConfig, {"mean": (128.0, 128.0, 128.0)}, "--data.mean"),
        (ViewsConfig, {"size": 0}, "--views.size is 0"),
        (ViewsConfig, {"fill": 256}, "--views.fill is 256, but 0 to 255"),
        (MethodConfig, {"name": "boyl"}, "--method.name is 'boyl': did you mean 'byol'"),
        (ViewsConfig, {"crop": "inceptoin"}, "--views.crop is 'inceptoin': did you mean"),
        (
            ViewsConfig,
            {"layout": "massrl(2)"},
            r"--views.layout is 'massrl\(2\)': did you mean 'massrl'",
        ),
        (MethodConfig, {"pairs": "al"}, "--method.pairs is 'al'"),
        (MethodConfig, {"reduction": "max"}, "--method.reduction is 'max'"),
        (MethodConfig, {"batch_norm": "none"}, "--method.batch_norm is 'none'"),
        (MethodConfig, {"temperature": 0.0}, "--method.temperature is 0"),
        (MethodConfig, {"target_momentum": 1.1}, "--method.target_momentum is 1.1, but 0 to 1"),
        (ProjectorConfig, {"layers": -1}, "--model.projector.layers"),
        (ProjectorConfig, {"hidden": 0}, "--model.projector.hidden"),
        (ProjectorConfig, {"out": 0}, "--model.projector.out"),
        (ModelConfig, {"stem": "tiny"}, "--model.stem is 'tiny'"),
        (OptimConfig, {"name": "lasr"}, "--optim.name is 'lasr': did you mean 'lars'"),
        (OptimConfig, {"lr": -1.0}, "--optim.lr is -1"),
        (OptimConfig, {"lr": float("nan")}, "--optim.lr is nan"),
        (OptimConfig, {"weight_decay": -1.0}, "--optim.weight_decay"),
        (OptimConfig, {"momentum": 2.0}, "--optim.momentum is 2"),
        (OptimConfig, {"trust_coefficient": -1.0}, "--optim.trust_coefficient is -1"),
        (OptimConfig, {"betas": (0.9, 1.0)}, "--optim.betas"),
        (OptimConfig, {"warmup_epochs": -1.0}, "--optim.warmup_epochs"),
        (TrainConfig, {"epochs": 0.0}, "--train.epochs is 0, but a number above 0"),
        (TrainConfig, {"epochs": float("nan")}, "--train.epochs is nan"),
        (TrainConfig, {"epochs": float("inf")}, "--train.epochs is inf"),
        (TrainConfig, {"max_steps": 0}, "--train.max_steps is 0"),
        (TrainConfig, {"time_budget": 0.0}, "--train.time_budget is 0"),
        (TrainConfig, {"devices": 0}, "--train.devices is 0"),
        (TrainConfig, {"accelerator": "tpu"}, "--train.accelerator is 'tpu'"),
        (TrainConfig, {"accumulate": 0}, "--train.accumulate is 0"),
        (TrainConfig, {"precision": "8"}, "--train.precision is '8'"),
        (TrainConfig, {"checkpoint_every": 0}, "--train.checkpoint_every is 0"),
        (TrainConfig, {"log_every": 0}, "--train.log_every is 0"),
        (TrainConfig, {"probe_every": -1.0}, "--train.probe_every is -1"),
        (EvaluateConfig, {"k": 0}, "--k is 0"),
    ],
)
def test_value_outside_its_range_is_refused_naming_its_flag(
    kind: Any, fields: dict[str, Any], message: str
) -> None:
    """Guards every check: the flag, the value given, what is accepted, in one line."""
    with pytest.raises(ConfigError, match=message) as caught:
        kind(**fields)
    assert "\n" not in str(caught.value)


def test_faults_of_a_section_are_listed_at_once() -> None:
    """Guards against a user who mends one value only to be told of the next."""
    with pytest.raises(ConfigError) as caught:
        TrainConfig(max_steps=0, devices=0, accelerator="tpu")
    for flag in ("--train.max_steps", "--train.devices", "--train.accelerator"):
        assert flag in str(caught.value)
