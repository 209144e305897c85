"""Configurations in files: recipes, a user's own, a run's."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from massrl.config.files import config_text, load_config, read_config_file, read_layers
from massrl.config.parser import make_config
from massrl.errors import ConfigError


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


def test_policy_file_beside_the_configuration_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards a run folder that is moved: its policies are named relative to its config.yaml."""
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    (run / "policies").mkdir(parents=True)
    elsewhere.mkdir()
    (run / "policies" / "1-mine.yaml").write_text("{}")
    file = run / "config.yaml"
    policies = ["weak", "policies/1-mine.yaml", "other.yaml"]
    file.write_text(yaml.safe_dump({"views": {"policies": policies, "target_policy": policies[1]}}))
    monkeypatch.chdir(elsewhere)
    views = load_config(file).views
    own = str(run / "policies" / "1-mine.yaml")
    assert views.policies == ("weak", own, "other.yaml")
    assert views.target_policy == own


def test_runs_own_configuration_is_repeated_in_another_folder(tmp_path: Path) -> None:
    """Guards a repeat with ``--config run/config.yaml`` against writing into that run's folder."""
    file = tmp_path / "config.yaml"
    for out, wanted in ((str(tmp_path), ""), ("elsewhere", "elsewhere")):
        file.write_text(yaml.safe_dump({"out": out}))
        assert read_layers(file)["out"] == wanted
