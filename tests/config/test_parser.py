"""Mappings and flags to one checked dataclass."""

from __future__ import annotations

from typing import Any

import pytest

from massrl.commands.views import SheetConfig
from massrl.config.evaluation import EvaluateConfig
from massrl.config.files import read_layers
from massrl.config.parser import flags, make, make_config
from massrl.config.pretrain import Config
from massrl.errors import ConfigError

FLAGS_OF_THE_ISSUE = [
    "--out",
    "--data.train",
    "--data.val",
    "--data.limit",
    "--data.batch_size",
    "--data.workers",
    "--views.layout",
    "--views.policies",
    "--model.backbone",
    "--train.epochs",
    "--train.max_steps",
    "--train.seed",
    "--train.devices",
    "--train.accumulate",
    "--train.checkpoint_every",
]


def test_flags_that_others_rely_on_are_all_there() -> None:
    """Guards the public names: each flag of the issue exists and takes a value."""
    assert set(FLAGS_OF_THE_ISSUE) <= set(flags(Config))
    values = {
        "--data.batch_size": "9",
        "--views.layout": "massrl",
        "--views.policies": "weak",
        "--train.epochs": "2.5",
    }
    words = [f"{flag}={values.get(flag, 3)}" for flag in FLAGS_OF_THE_ISSUE]
    config = make_config(arguments=words)
    assert (config.data.train, config.data.limit, config.train.epochs) == ("3", 3, 2.5)
    assert (config.train.accumulate, config.train.checkpoint_every) == (3, 3)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--views.policies", "weak"], ("weak",)),
        (["--views.policies=weak,simclr"], ("weak", "simclr")),
        (["--views.policies", "randaugment(2,9),simclr"], ("randaugment(2,9)", "simclr")),
        (
            ["--views.policies= simclr(blur_prob=0,solarize_prob=0.2) , weak"],
            ("simclr(blur_prob=0,solarize_prob=0.2)", "weak"),
        ),
        (["--views.policies", '["randaugment(2,9)", "weak"]'], ("randaugment(2,9)", "weak")),
        (["--views.policies=my policy.yaml,weak"], ("my policy.yaml", "weak")),
        (["--views.policies=weak", "--views.policies=simclr"], ("simclr",)),
    ],
)
def test_list_of_policies_is_split_at_commas_outside_parentheses(
    words: list[str], wanted: tuple[str, ...]
) -> None:
    """Guards the notation of the README: ``simclr,randaugment(2,9)`` is two policies."""
    assert make_config(arguments=words).views.policies == wanted


def test_pair_of_numbers_is_read_from_a_comma_list() -> None:
    """Guards flags that take several numbers."""
    config = make_config(arguments=["--views.crop_scale", "0.2,0.9", "--optim.betas=[0.8,0.99]"])
    assert (config.views.crop_scale, config.optim.betas) == ((0.2, 0.9), (0.8, 0.99))
    assert make_config(arguments=["--views.crop_scale=null"]).views.crop_scale is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data.batchsize=3"], "unknown flag --data.batchsize: did you mean '--data.batch_size'"),
        (["--batch_size", "3"], "unknown flag --batch_size"),
        (["photos"], "unexpected argument 'photos'"),
        (["--data.limit", "many"], "--data.limit is 'many', but a whole number is wanted"),
        (["--data.limit=2.5"], "--data.limit is '2.5', but a whole number is wanted"),
        (["--data.limit=1e3"], "--data.limit is '1e3', but a whole number is wanted"),
        (["--data.download=perhaps"], "--data.download is 'perhaps', but true or false is wanted"),
        (["--optim.lr=fast"], "--optim.lr is 'fast', but a number is wanted"),
        (["--optim.lr"], "--optim.lr needs a value: a number is wanted"),
        (["--data.cache", "--out=x"], "--data.cache needs a value: known: auto, memory, none"),
        (["--out="], "--out is empty: text is wanted"),
        (["--views.policies", ""], "--views.policies is empty: a list of texts is wanted"),
        (["--views.policies=weak,"], "--views.policies is 'weak,', but a list of texts is wanted"),
        (["--views.crop_scale=0.5"], "--views.crop_scale is '0.5', but a list of two numbers"),
        (["--views.crop_scale=0.1,0.2,0.3"], "is '0.1,0.2,0.3', but a list of two numbers"),
        (["--data.batch_size=-4"], "--data.batch_size is -4, but 1 or more is wanted"),
    ],
)
def test_flag_that_cannot_be_is_refused_in_one_line(words: list[str], message: str) -> None:
    """Guards the messages: the flag, the value given, what is accepted."""
    with pytest.raises(ConfigError, match=message) as caught:
        make_config(arguments=words)
    assert "\n" not in str(caught.value)


def test_faults_of_flags_and_sections_are_listed_at_once() -> None:
    """Guards against one round through the shell for every fault."""
    with pytest.raises(ConfigError) as caught:
        make_config(arguments=["--data.lmit=1", "--trian.seed=2", "--train.seed=3"])
    assert "--data.lmit" in str(caught.value)
    assert "--trian.seed" in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        make_config(arguments=["--data.limit=0", "--optim.lr=-1", "--model.projector.out=0"])
    for flag in ("--data.limit", "--optim.lr", "--model.projector.out"):
        assert flag in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        make_config(arguments=["--data.limit=x", "--optim.lr=-1", "--views.fill=x"])
    for flag in ("--data.limit", "--optim.lr", "--views.fill"):
        assert flag in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"data": {"limt": 3}}, "unknown key data.limt: did you mean 'limit'"),
        ({"data": {"limit": "many"}}, "--data.limit is 'many', but a whole number"),
        ({"data": 3}, "data is 3, but a section"),
        ({"views": {"policies": 3}}, "--views.policies is 3, but a list of texts"),
        ({"recipe": "cifar-byol"}, "unknown recipe 'cifar-byol'.*'cifar10-byol'.*--recipe"),
    ],
)
def test_mapping_that_cannot_be_is_refused_in_one_line(
    content: dict[str, Any], message: str
) -> None:
    """Guards the same messages in Python as in the shell."""
    with pytest.raises(ConfigError, match=message) as caught:
        make_config(read_layers(content))
    assert "\n" not in str(caught.value)


def test_other_dataclasses_are_made_the_same_way() -> None:
    """Guards the other verbs: their flags, lists and checks come from the same parser."""
    config = make(EvaluateConfig, arguments=["--task", "knn", "--data.val=x", "--k=5"])
    assert (config.task, config.data.val, config.k) == (("knn",), "x", 5)
    sheet = make(SheetConfig, {"images": "photos"}, arguments=["--views.policies=weak,simclr"])
    assert (sheet.images, sheet.views.policies) == ("photos", ("weak", "simclr"))


def test_list_may_be_given_as_text_from_python_too() -> None:
    """Guards one meaning for shell and Python: a text is split, never taken letter by letter."""
    text = "simclr, randaugment(2,9)"
    made = make_config({"views": {"policies": text}})
    assert made == make_config(arguments=[f"--views.policies={text}"])
    assert made.views.policies == ("simclr", "randaugment(2,9)")
    with pytest.raises(ConfigError, match="--views.crop_scale is .*, but a list of two numbers"):
        make_config({"views": {"crop_scale": 0.3}})


def test_flag_that_is_yes_or_no_may_stand_alone() -> None:
    """Guards ``--random_init``, as errors and the README write it."""
    for words, wanted in (
        (["--random_init"], True),
        (["--random_init", "--k", "3"], True),
        (["--random_init", "false"], False),
        ([], False),
    ):
        assert make(EvaluateConfig, arguments=words).random_init is wanted
    rates = make(EvaluateConfig, arguments=["--sgd.lrs", "0.1,0.2", "--semi.epochs=3"])
    assert (rates.sgd.lrs, rates.semi.epochs) == ((0.1, 0.2), (3,))


def test_value_that_is_empty_is_refused_where_one_is_wanted() -> None:
    """Guards ``probe_every: null`` in a file against an error of Python's own."""
    with pytest.raises(ConfigError, match="--train.probe_every is empty, but a number is wanted"):
        make_config({"train": {"probe_every": None}})
    with pytest.raises(ConfigError, match="--data.batch_size|--optim.name is empty"):
        make_config({"optim": {"name": None}})
    assert make_config({"data": {"batch_size": None}}).data.batch_size is None
