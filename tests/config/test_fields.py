"""What a field accepts, and how layers and resuming treat it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import pytest
from tests.conftest import Plugin

from massrl.config.fields import (
    all_fields,
    changeable_on_resume,
    choices_text,
    field_faults,
    option,
    section_of,
)
from massrl.config.parser import make, make_config
from massrl.config.pretrain import Config, TrainConfig
from massrl.config.sections import DataConfig, MethodConfig, OptimConfig, ViewsConfig
from massrl.errors import ConfigError
from massrl.registry import OBJECTIVES

TRACKED = {"all": "every one"}


@dataclass(frozen=True, kw_only=True)
class Inner:
    """A section."""

    size: int = option(1, resume=True)
    """Size."""
    names: tuple[str, ...] = option(("byol",), choices=OBJECTIVES, also=TRACKED, arguments=True)
    """Names."""


@dataclass(frozen=True, kw_only=True)
class Outer:
    """Options with a section."""

    kind: str | None = option(None, choices={"a": "first", "b": "second"})
    """Kind."""
    inner: Inner = field(default_factory=Inner)
    """The section."""


def test_fields_of_sections_have_dotted_names() -> None:
    """Guards the one list that flags, layers and resuming are derived from."""
    assert list(all_fields(Outer)) == ["kind", "inner.size", "inner.names"]
    assert [section_of(item) for item in fields(Outer)] == [None, Inner]


def test_option_keeps_its_default_and_type() -> None:
    """Guards dataclasses against metadata that changes what they are."""
    assert Outer() == Outer(kind=None, inner=Inner(size=1, names=("byol",)))
    assert make(Outer, arguments=["--kind=b", "--inner.size=3"]).inner.size == 3


@pytest.mark.parametrize(
    ("config", "faults"),
    [
        (Outer(kind="c"), ["--kind is 'c': known: a, b"]),
        (Outer(kind="a"), []),
        (Outer(), []),
        (Inner(names=("byol", "all", "simclr")), []),
        (Inner(names=("boyl",)), ["--names is 'boyl': did you mean 'byol'?"]),
        (Inner(names=("byol(temperature=2)",)), []),
        (Inner(names=("byol(",)), ["'byol(' is not of the form name or name(arguments) (--names)"]),
        (Inner(names="byol"), ["--names is 'byol', but a list of texts is wanted"]),  # type: ignore[arg-type]
    ],
)
def test_value_that_is_not_a_choice_is_a_fault(config: Any, faults: list[str]) -> None:
    """Guards the check of every closed choice and of every table, of one value and of several."""
    assert field_faults(config) == faults


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (MethodConfig, {"name": "simclr(temperature=0.1)"}),
        (OptimConfig, {"name": "lars()"}),
    ],
)
def test_part_with_arguments_is_accepted_by_its_name(kind: Any, values: dict[str, str]) -> None:
    """Guards ``--method.name "mine(alpha=2)"``: arguments are the part's own business."""
    assert kind(**values).name == values["name"]


def test_objective_of_another_package_is_accepted(plugin: Plugin) -> None:
    """Guards third parties' parts against a check that knows massrl's own alone."""
    with pytest.raises(ConfigError, match="--method.name is 'mine': "):
        make_config(arguments=["--method.name=mine"])
    plugin("raise ValueError", {"massrl.objectives": {"mine": "my_plugin:Mine"}})
    assert make_config(arguments=["--method.name=mine(alpha=2)"]).method.name == "mine(alpha=2)"


def test_list_of_texts_given_as_a_text_is_refused_in_python() -> None:
    """Guards a text against being taken letter by letter."""
    for make_section in (
        lambda: ViewsConfig(policies="simclr"),  # type: ignore[arg-type]
        lambda: TrainConfig(loggers="wandb"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigError, match="but a list of texts is wanted"):
            make_section()


def test_fields_that_may_change_on_resume_are_marked_in_the_field() -> None:
    """Guards a resumed run: where its images are and what it runs on may change, its meaning not."""
    assert changeable_on_resume(Outer) == ("inner.size",)
    free = changeable_on_resume(Config)
    assert {"data.train", "data.workers", "train.devices", "train.loggers"} <= set(free)
    assert not {"out", "data.batch_size", "views.layout", "method.name", "train.seed"} & set(free)
    assert not {"train.epochs", "train.max_steps", "train.precision", "data.mean"} & set(free)


@pytest.mark.parametrize("name", ["on_error", "cache", "workers", "limit"])
def test_choices_are_a_sentence(name: str) -> None:
    """Guards the help: every accepted value is named, and a free value has no list."""
    (item,) = (item for item in fields(DataConfig) if item.name == name)
    choices = item.metadata.get("choices") or {}
    text = choices_text(item)
    assert all(f"`{value}`" in text for value in choices)
    assert bool(text) == bool(choices)
    assert text == "" or text.endswith(".")
