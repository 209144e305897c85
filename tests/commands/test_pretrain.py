"""``massrl pretrain``: the configuration it makes, and what it prints."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import massrl.commands.pretrain
from massrl.cli import main
from massrl.config.files import config_text
from massrl.config.pretrain import Config
from massrl.config.sections import DataConfig
from massrl.files import write_text


@pytest.fixture
def pretrained(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """What the command line asks of ``pretrain``, without training."""
    configs: list[Config] = []

    def pretrain(config: Config, *, overwrite: bool) -> Any:
        configs.append(config)
        session = SimpleNamespace(skipped={}, stopped_by=None, step=3, seconds=1.0)
        return SimpleNamespace(session=session, folder=Path("runs/x"), is_main=True)

    monkeypatch.setattr(massrl.commands.pretrain, "pretrain", pretrain)
    monkeypatch.setattr(massrl.commands.pretrain, "resume", lambda run: pretrain(run))
    return configs


def test_pretrain_without_a_recipe_takes_the_default_one(pretrained: list[Config]) -> None:
    """Guards ``massrl pretrain --data.train photos/``."""
    assert main(["pretrain", "--data.train", "photos"]) == 0
    (config,) = pretrained
    assert (config.recipe, config.data.train) == ("default", "photos")
    assert config.model.projector.hidden == 2048


def test_pretrain_merges_flags_over_file_over_recipe(
    pretrained: list[Config], tmp_path: Path
) -> None:
    """Guards the merging order in the shell, with flags in both spellings and any place."""
    file = tmp_path / "own.yaml"
    file.write_text("optim: {lr: 0.7, momentum: 0.5}\nout: earlier\n")
    words = ["--optim.lr=0.9", "--config", str(file), "--recipe=cifar10-byol", "--train.seed", "-1"]
    assert main(["pretrain", *words]) == 0
    (config,) = pretrained
    assert (config.optim.lr, config.optim.momentum, config.optim.clip) == (0.9, 0.5, True)
    assert (config.recipe, config.train.seed) == ("cifar10-byol", -1)
    assert config.out == "earlier"


def test_pretrain_on_a_runs_own_configuration_has_a_folder_of_its_own(
    pretrained: list[Config], tmp_path: Path
) -> None:
    """Guards the repeat of a run against the folder of the run itself."""
    file = tmp_path / "config.yaml"
    file.write_text(f"out: {tmp_path}\n")
    assert main(["pretrain", "--config", str(file)]) == 0
    assert pretrained[0].out == ""


def test_pretrain_on_a_file_that_names_a_recipe_merges_it_over_that_recipe(
    pretrained: list[Config], tmp_path: Path
) -> None:
    """Guards against a run that bears a recipe's name and has none of its numbers."""
    file = tmp_path / "own.yaml"
    file.write_text("recipe: cifar10-byol\ndata: {limit: 100}\n")
    assert main(["pretrain", f"--config={file}"]) == 0
    (config,) = pretrained
    assert (config.recipe, config.optim.name, config.data.limit) == ("cifar10-byol", "lars", 100)


def test_recipe_other_than_the_files_own_is_refused(
    pretrained: list[Config], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards against a recipe that is named, printed and without any effect."""
    file = tmp_path / "own.yaml"
    file.write_text("recipe: cifar10-byol\n")
    assert main(["pretrain", f"--config={file}", "--recipe=shapes-byol"]) == 2
    assert "builds on the recipe 'cifar10-byol'" in capsys.readouterr().err
    assert main(["pretrain", f"--config={file}", "--recipe=cifar10-byol"]) == 0
    assert [config.recipe for config in pretrained] == ["cifar10-byol"]


def test_recipe_given_twice_counts_the_last_time(pretrained: list[Config]) -> None:
    """Guards the shell's own habit: what is typed later wins."""
    main(["pretrain", "--recipe", "shapes-byol", "--recipe=cifar10-byol"])
    assert pretrained[0].recipe == "cifar10-byol"


def test_pretrain_that_was_stopped_prints_how_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards the line that a user needs after Ctrl-C."""
    run = tmp_path / "my run"
    write_text(run / "config.yaml", config_text(Config()))
    session = SimpleNamespace(skipped={"a": "b"}, stopped_by="SIGINT", step=3, seconds=1.0)
    result = SimpleNamespace(session=session, folder=run, is_main=True)
    configs: list[Config] = []
    monkeypatch.setattr(
        massrl.commands.pretrain, "resume", lambda _, config: configs.append(config) or result
    )
    assert main(["pretrain", "--resume", str(run), "--data.workers", "3"]) == 130
    assert configs == [Config(data=DataConfig(workers=3))]
    captured = capsys.readouterr()
    assert f"massrl pretrain --resume '{run}'" in captured.out
    assert "1 broken image skipped" in captured.err


@pytest.mark.parametrize(
    ("stopped_by", "code"),
    [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 0), ("its time budget", 0), (None, 0)],
)
def test_exit_code_says_how_the_run_has_ended(
    stopped_by: str | None, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards ``pretrain && evaluate``: a run that was stopped ended with 0. SLURM's signal requeues it."""
    session = SimpleNamespace(skipped={}, stopped_by=stopped_by, step=3, seconds=1.0)
    result = SimpleNamespace(session=session, folder=Path("x"), is_main=True)
    monkeypatch.setattr(massrl.commands.pretrain, "pretrain", lambda config, overwrite: result)
    assert main(["pretrain"]) == code


def test_weights_to_start_from_have_a_short_flag(pretrained: list[Config]) -> None:
    """Guards ``--init-from``, which is short for a field of the model."""
    assert main(["pretrain", "--init-from", "runs/a"]) == 0
    assert pretrained[0].model.init_from == "runs/a"


def test_finished_run_prints_its_files_and_what_to_do_next(
    pretrained: list[Config], capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards the last lines of a run: where the backbone is, and how to evaluate it."""
    assert main(["pretrain"]) == 0
    out = capsys.readouterr().out
    assert "done: 3 steps, 1 second\n" in out
    assert "runs/x/backbone.safetensors" in out
    assert "massrl evaluate runs/x --task knn,linear" in out


def test_process_that_is_not_the_main_one_prints_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards runs on several machines against as many last words."""
    session = SimpleNamespace(skipped={"a": "b"}, stopped_by="SIGINT", step=3, seconds=1.0)
    result = SimpleNamespace(session=session, folder=Path("x"), is_main=False)
    monkeypatch.setattr(massrl.commands.pretrain, "pretrain", lambda config, **_: result)
    assert main(["pretrain"]) == 130  # as the main process
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("flag", ["--recipe=default", "--config=a.yaml", "--init-from=b"])
def test_resumed_run_takes_no_other_beginning(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards a flag that would be read and ignored."""
    assert main(["pretrain", "--resume", "x", flag]) == 2
    assert "no --recipe, --config or --init-from" in capsys.readouterr().err
