"""Names that have changed since version 0.1.0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from massrl.commands.import_backbone import ImportConfig
from massrl.config import renamed
from massrl.config.evaluation import EvaluateConfig
from massrl.config.files import load_config, read_layers
from massrl.config.parser import flags, make, make_config
from massrl.config.pretrain import Config
from massrl.config.renamed import (
    FIELDS,
    renamed_fault,
    renamed_field,
    renamed_task,
    translate_fields,
    translate_metrics,
    translate_results,
)
from massrl.errors import ConfigError
from massrl.runs.metrics import COLUMNS, MetricsFile, read_metrics

KINDS: dict[str, type] = {
    "Config": Config,
    "EvaluateConfig": EvaluateConfig,
    "ImportConfig": ImportConfig,
}
ROWS = [(kind, old, new) for kind, table in FIELDS.items() for old, new in table.items()]


@pytest.mark.parametrize(("kind", "old", "new"), ROWS)
def test_row_of_fields_names_an_existing_field_or_section(kind: str, old: str, new: str) -> None:
    """Guards against a row that sends a user to a flag that does not exist."""
    known = flags(KINDS[kind])
    assert f"--{old}" not in known
    assert f"--{new}" in known or any(flag.startswith(f"--{new}.") for flag in known)
    if kind != "ImportConfig":  # no file holds one
        assert old.rpartition(".")[0] in (
            new.rpartition(".")[0],
            *FIELDS[kind],
        )  # the section stays


@pytest.mark.parametrize(
    ("flag", "new"),
    [
        ("--method.objective=byol", "--method.name"),
        ("--method.target", "--method.target_reduction"),
        ("--train.seconds=3", "--train.time_budget"),
    ],
)
def test_old_flag_is_refused_with_its_new_name(flag: str, new: str) -> None:
    """Guards scripts of version 0.1.0 against an error that does not name the new flag."""
    old = flag.partition("=")[0]
    with pytest.raises(ConfigError, match=f"^flag {old} is now {new}$"):
        make_config(arguments=[flag] if "=" in flag else [flag, "mean"])


def test_old_key_of_a_file_is_refused_with_its_new_name(tmp_path: Path) -> None:
    """Guards a user's own YAML file, which is not translated: it names only what differs."""
    file = tmp_path / "mine.yaml"
    file.write_text("method: {objective: byol}\ntrain: {seconds: 9, epoch: 1}\n")
    with pytest.raises(ConfigError) as caught:
        make_config(read_layers(file))
    assert str(caught.value).startswith(
        "key method.objective is now method.name; key train.seconds is now train.time_budget; unknown"
    )


def test_config_that_an_old_run_saved_is_translated(tmp_path: Path) -> None:
    """Guards ``--resume`` and ``--config`` with the config.yaml of a run of version 0.1.0."""
    content: dict[str, Any] = make_config({"method": {"target_reduction": "mean"}}).to_dict()
    content["method"]["objective"] = content["method"].pop("name")
    content["method"]["target"] = content["method"].pop("target_reduction")
    content["train"]["seconds"] = 600.0
    del content["train"]["time_budget"]
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(content))
    for config in (load_config(file), make_config(read_layers(file))):
        assert (config.method.name, config.method.target_reduction) == ("simclr", "mean")
        assert config.train.time_budget == 600


def test_translation_of_present_names_changes_nothing() -> None:
    """Guards files of the present version, which go through the same translation."""
    config = Config().to_dict()
    assert translate_fields(config, Config) == config
    results = {"run": config, "tasks": {"knn": {"acc1": 1.0, "config": {"k": 3}}}}
    assert translate_results(results) == results
    assert translate_results(translate_results({"tasks": 3})) == {"tasks": 3}


@pytest.fixture
def sections(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table in which a section, a field within it, a task and a key are renamed."""
    monkeypatch.setitem(FIELDS, "EvaluateConfig", {"few": "many", "few.rates": "many.lrs"})
    monkeypatch.setattr(renamed, "TASKS", {"few": "few-shot"})
    monkeypatch.setattr(renamed, "RESULT_KEYS", {"weight": "C"})


@pytest.mark.usefixtures("sections")
def test_renamed_section_takes_its_fields_with_it() -> None:
    """Guards a row for a section: each field within it is found, renamed itself or not."""
    assert renamed_field("few.rates", EvaluateConfig) == "many.lrs"
    assert renamed_field("few.epochs", EvaluateConfig) == "many.epochs"
    assert renamed_field("fewer.epochs", EvaluateConfig) is None
    assert renamed_field("few.rates", Config) is None
    assert renamed_fault("few.a", EvaluateConfig, flag=False) == "key few.a is now many.a"


@pytest.mark.usefixtures("sections")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("few", "few-shot"),
        ("few-10", "few-shot-10"),
        ("few-shot", "few-shot"),
        ("few-shot-10", "few-shot-10"),
        ("fewer", "fewer"),
        ("knn", "knn"),
    ],
)
def test_task_is_renamed_once_with_its_detail(old: str, new: str) -> None:
    """Guards a new name that begins with the old one, and names that only look like it."""
    assert renamed_task(old) == new


@pytest.mark.usefixtures("sections")
def test_old_results_are_translated_as_a_whole() -> None:
    """Guards the run's configuration, the evaluation's, the tasks' names and the metrics' keys."""
    old = {
        "run": {"method": {"objective": "byol"}},
        "tasks": {
            "few-10": {
                "weight": 0.1,
                "acc1": 5.0,
                "config": {"task": ["few", "knn"], "few": {"rates": [1], "epochs": 2}},
            }
        },
    }
    assert translate_results(old) == {
        "run": {"method": {"name": "byol"}},
        "tasks": {
            "few-shot-10": {
                "C": 0.1,
                "acc1": 5.0,
                "config": {"task": ["few-shot", "knn"], "many": {"lrs": [1], "epochs": 2}},
            }
        },
    }
    assert "few-10" in old["tasks"]  # the argument is left alone


def test_old_task_is_refused_with_its_new_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards ``--task`` in scripts of version 0.1.0."""
    monkeypatch.setitem(renamed.TASKS, "few", "few-shot")
    with pytest.raises(ConfigError, match="--task: 'few' is now 'few-shot'"):
        make(EvaluateConfig, arguments=["--task=knn,few"])
    with pytest.raises(ConfigError, match="--task: 'few' is now 'few-shot'"):
        make(EvaluateConfig, {"task": ["few"]})


def test_columns_of_an_old_metrics_file_are_read_and_continued(tmp_path: Path) -> None:
    """Guards the curves of a run that began with version 0.1.0 and goes on with this one."""
    file = tmp_path / "metrics.csv"
    file.write_text("step,loss,deviation,feature_deviation\n0,3.5,0.9,0.8\n1,3.4,,\n")
    (first, second) = read_metrics(file)
    old = {"step": "0", "loss": "3.5", "embedding_std": "0.9", "feature_std": "0.8"}
    assert first == dict.fromkeys(COLUMNS, "") | old
    MetricsFile(file, step=1).close()
    (first_row,) = read_metrics(file)
    assert (first_row["step"], first_row["embedding_std"], first_row["feature_std"]) == (
        "0",
        "0.9",
        "0.8",
    )
    assert second["embedding_std"] == ""
    assert translate_metrics(dict.fromkeys(COLUMNS, "1")) == dict.fromkeys(COLUMNS, "1")
