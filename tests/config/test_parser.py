"""Layers of configuration: recipe, file, flags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from massrl.commands.demo import DemoConfig
from massrl.commands.views import SheetConfig
from massrl.config.evaluation import EvaluateConfig
from massrl.config.files import config_text, read_config_file, read_layers
from massrl.config.help import help_text
from massrl.config.parser import flags, make, make_config
from massrl.config.pretrain import Config
from massrl.config.sections import ViewsConfig
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


def test_layers_win_in_order_defaults_recipe_file_flags(tmp_path: Path) -> None:
    """Guards the merging order: each layer is seen exactly where none above it speaks."""
    file = tmp_path / "own.yaml"
    file.write_text("optim: {lr: 0.7, weight_decay: 0.5}\nviews: {size: 48}\n")
    layers = read_layers("cifar10-byol"), read_config_file(file)
    config = make_config(*layers, arguments=["--optim.lr=0.9", "--train.seed", "5"])
    assert config.optim.lr == 0.9  # flag over file over recipe
    assert config.optim.weight_decay == 0.5  # file over recipe
    assert config.views.size == 48
    assert config.optim.trust_coefficient == 0.02  # recipe over default
    assert config.recipe == "cifar10-byol"
    assert config.train.log_every == 1  # default
    assert config.train.seed == 5


def test_configuration_that_names_a_recipe_is_laid_over_it(tmp_path: Path) -> None:
    """Guards against a recipe's name over nothing but defaults, in Python and in a file alike."""
    content = {"recipe": "cifar10-byol", "data": {"limit": 100}}
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump(content))
    for layers in (read_layers(content), read_layers(file), read_layers(str(file))):
        config = make_config(layers)
        assert (config.optim.name, config.data.limit, config.data.train) == ("lars", 100, "cifar10")


def test_resolved_configuration_as_yaml_is_read_back_equal(tmp_path: Path) -> None:
    """Guards repetition: a run folder's config.yaml repeats the run, to the last digit."""
    arguments = [
        "--data.train=photos é",
        "--data.mean=0.1,0.2,0.3",
        "--data.std=0.1,0.25,0.3333333333333333",
        "--views.policies=simclr(blur_prob=0,solarize_prob=0.2),randaugment(2,9)",
        "--views.crop_scale=0.2,1",
        "--optim.weight_decay=1.5e-6",
        "--optim.lr=1e-05",
        "--train.seed=-3",
    ]
    config = make_config(read_layers("imagenet-massrl"), arguments=arguments)
    file = tmp_path / "config.yaml"
    file.write_text(config_text(config), encoding="utf-8")
    assert make_config(read_config_file(file)) == config
    assert make_config(read_layers(file)) == config
    assert make_config(read_layers(config)) == config
    assert list(tmp_path.iterdir()) == [file]


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
        (["--data.limit=2.5"], "--data.limit is '?2.5'?, but a whole number is wanted"),
        (["--data.download=perhaps"], "--data.download is 'perhaps', but true or false is wanted"),
        (["--optim.lr=fast"], "--optim.lr is 'fast', but a number is wanted"),
        (["--optim.lr"], "--optim.lr"),
        (["--views.crop_scale=0.5"], r"--views.crop_scale is '\[0.5\]', but a list"),
        (["--views.crop_scale=0.1,0.2,0.3"], "--views.crop_scale"),
        (["--data.batch_size=-4"], "--data.batch_size is -4, but 1 or more is wanted"),
    ],
)
def test_flag_that_cannot_be_is_refused_in_one_line(words: list[str], message: str) -> None:
    """Guards the messages: the flag, the value given, what is accepted."""
    with pytest.raises(ConfigError, match=message) as caught:
        make_config(arguments=words)
    assert "\n" not in str(caught.value)
    assert "jsonargparse" not in str(caught.value)


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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"data": {"limt": 3}}, "unknown key data.limt: did you mean 'limit'"),
        ({"data": {"limit": "many"}}, "--data.limit is 'many', but a whole number"),
        ({"data": 3}, "data is 3, but a section"),
        ({"views": {"policies": 3}}, "--views.policies is '3', but a list of texts"),
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read the configuration"),
        (b"\xff\xd8", "cannot read the configuration"),
        (b"data: [", "cannot read the configuration"),
        (b"- a\n- b", "holds no configuration"),
        (b"", "holds no configuration"),
    ],
)
def test_file_that_is_no_configuration_is_refused(
    tmp_path: Path, text: bytes | None, message: str
) -> None:
    """Guards --config against a picture, a list, an empty file or none."""
    file = tmp_path / "x.yaml"
    if text is not None:
        file.write_bytes(text)
    with pytest.raises(ConfigError, match=f"{message}.*--config") as caught:
        read_layers(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [Config, EvaluateConfig, SheetConfig, DemoConfig])
def test_help_describes_every_flag(kind: type) -> None:
    """Guards the help: a field without its docstring would stand there bare."""
    text = help_text(kind)
    lines = {line.split()[0]: line for line in text.splitlines() if line.startswith("  --")}
    assert set(lines) == set(flags(kind))
    assert all(len(line.split()) > 3 for line in lines.values()), lines


def test_other_dataclasses_are_made_the_same_way() -> None:
    """Guards the other verbs: their flags, lists and checks come from the same parser."""
    config = make(EvaluateConfig, arguments=["--task", "knn", "--data.val=x", "--k=5"])
    assert (config.task, config.data.val, config.k) == (("knn",), "x", 5)
    sheet = make(SheetConfig, {"images": "photos"}, arguments=["--views.policies=weak,simclr"])
    assert (sheet.images, sheet.views.policies) == ("photos", ("weak", "simclr"))


@pytest.mark.parametrize("length", ["epochs", "time_budget", "max_steps"])
def test_length_of_a_later_layer_replaces_all_lengths_below(length: str) -> None:
    """Guards against a flag that is parsed and ignored: max_steps goes before time_budget and epochs."""
    saved = {"train": {"epochs": 7.0, "time_budget": 600.0, "max_steps": 900, "seed": 3}}
    for config in (
        make_config(saved, {"train": {length: 5}}),
        make_config(saved, arguments=[f"--train.{length}=5"]),
        make_config(saved, arguments=[f"--train.{length}", "5"]),
    ):
        lengths = (config.train.epochs, config.train.time_budget, config.train.max_steps)
        assert lengths[["epochs", "time_budget", "max_steps"].index(length)] == 5
        assert config.train.max_steps in (None, 5)
        assert config.train.time_budget in (None, 5)
        assert config.train.seed == 3


def test_another_layout_brings_its_own_strategies() -> None:
    """Guards against BYOL's layout with the four strategies of the recipe below it."""
    config = make_config(read_layers("shapes-massrl"), arguments=["--views.layout=byol"])
    assert config.views.policies is None
    assert config.views.crop_scale == (0.7, 1.0)  # the images' own, not the layout's
    same = make_config(read_layers("shapes-massrl"), arguments=["--views.layout=massrl-4"])
    assert same.views.policies is not None
    named = make_config(
        read_layers("shapes-massrl"), {"views": {"layout": "byol", "policies": ["weak", "weak"]}}
    )
    assert named.views.policies == ("weak", "weak")


def test_list_may_be_given_as_text_from_python_too() -> None:
    """Guards one meaning for shell and Python: a text is split, never taken letter by letter."""
    text = "simclr, randaugment(2,9)"
    made = make_config({"views": {"policies": text}})
    assert made == make_config(arguments=[f"--views.policies={text}"])
    assert made.views.policies == ("simclr", "randaugment(2,9)")
    with pytest.raises(ConfigError, match="'simclr', but a list of texts is wanted"):
        ViewsConfig(policies="simclr")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="--views.crop_scale is .*, but a list of two numbers"):
        make_config({"views": {"crop_scale": 0.3}})


def test_flag_that_is_yes_or_no_may_stand_alone() -> None:
    """Guards ``--random_init``, as errors and the README write it."""
    from massrl.config.evaluation import EvaluateConfig

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
    """Guards ``epochs: null`` in a file against an error of Python's own."""
    with pytest.raises(ConfigError, match="--train.epochs is empty, but a number is wanted"):
        make_config({"train": {"epochs": None}})
    with pytest.raises(ConfigError, match="--data.batch_size|--optim.name is empty"):
        make_config({"optim": {"name": None}})
    assert make_config({"data": {"batch_size": None}}).data.batch_size is None
