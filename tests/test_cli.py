"""The command line: verbs, help, mistakes in one line, exit codes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from massrl.cli import main
from massrl.commands import VERBS, Verb
from massrl.config.files import config_text
from massrl.config.pretrain import Config
from massrl.config.sections import DataConfig
from massrl.errors import ConfigError
from massrl.files import write_text
from massrl.recipes import recipe_names
from massrl.views.layouts import LAYOUTS
from massrl.views.policies.catalogue import POLICIES


@pytest.fixture
def pretrained(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """What the command line asks of ``pretrain``, without training."""
    asked: list[Config] = []

    def pretrain(config: Config) -> Any:
        asked.append(config)
        session = SimpleNamespace(skipped={}, stopped_by=None, step=3, seconds=1.0)
        return SimpleNamespace(session=session, folder=Path("runs/x"), is_main=True)

    import massrl.commands.pretrain

    monkeypatch.setattr(massrl.commands.pretrain, "pretrain", pretrain)
    monkeypatch.setattr(massrl.commands.pretrain, "resume", lambda run: pretrain(run))
    return asked


def fails(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line on stderr of a command that ends with exit code 2."""
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert captured.err.startswith("massrl: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_verbs_of_the_design_are_all_there() -> None:
    """Guards the table of commands that the documentation shows."""
    wanted = {"demo", "views", "pretrain", "evaluate", "recipes", "policies"}
    wanted |= {"data check", "data pack", "bench views"}
    assert wanted <= set(VERBS)


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_help_without_a_verb_lists_every_verb(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards the first thing a newcomer types."""
    assert main(words) == 0
    out = capsys.readouterr().out
    assert all(name in out and verb.summary in out for name, verb in VERBS.items())


@pytest.mark.parametrize("name", list(VERBS))
def test_help_of_every_verb_prints_its_flags(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Guards the help: no verb may fail on --help, and each flag of its own stands there."""
    assert main([*name.split(), "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: massrl {name}")
    assert all(flag in out for flag, _ in VERBS[name].own_flags)


def test_help_of_pretrain_names_every_flag_of_the_public_surface(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Guards the flags of the issue, those of the command line itself among them."""
    main(["pretrain", "--help"])
    out = capsys.readouterr().out
    flags = (
        "--recipe --config --resume --out --data.train --data.val --data.limit --data.batch_size "
        "--data.workers --views.layout --views.policies --model.backbone --train.epochs "
        "--train.max_steps --train.seed --train.devices --train.accumulate --train.checkpoint_every"
    )
    lines = [line.split()[0] for line in out.splitlines() if line.startswith("  --")]
    assert set(flags.split()) <= set(lines)
    assert len(lines) == len(set(lines))


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Guards what a bug report needs."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("massrl 0.")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pretrian"], "unknown command 'pretrian': did you mean 'pretrain'"),
        (["data"], "unknown command 'data': did you mean 'data pack'"),
        (["data", "chek"], "did you mean 'data check'"),
        (["pretrain", "--data.trian=x"], "unknown flag --data.trian: did you mean '--data.train'"),
        (["pretrain", "photos"], "unexpected argument 'photos'"),
        (["pretrain", "--recipe", "cifar-byol"], "unknown recipe 'cifar-byol': did you mean"),
        (["pretrain", "--recipe"], "--recipe needs a value"),
        (["pretrain", "--recipe="], "--recipe needs a value"),
        (["pretrain", "--recipe", "--out", "x"], "--recipe needs a value"),
        (["pretrain", "--config", "no/such.yaml"], "no/such.yaml"),
        (["data", "check", "x", "--rot=1"], "unknown flag --rot: did you mean '--root'"),
        (["data", "check", "no/such"], "neither a path that exists nor a dataset"),
        (["data", "check", "no/such"], "(IMAGES)"),
        (["views", "shapes(size=3)"], "size >= 16"),
        (["views", "shapes(size=3)"], "(IMAGES)"),
        (["pretrain", "--resume", "x"], "x is no run folder"),
        (["pretrain", "--resume", "x", "--recipe=default"], "no --recipe, --config or --init-from"),
        (["pretrain", "--data.limit=many"], "--data.limit is 'many', but a whole number"),
        (["pretrain", "--data.limit=0", "--train.seed=x"], "--train.seed is 'x'"),
        (["evaluate"], "run folder, file or name to judge is missing"),
        (["evaluate", "--task", "knn"], "is missing"),
        (["views"], "is missing"),
        (["recipes", "shape-byol"], "unknown recipe 'shape-byol': did you mean 'shapes-byol'"),
        (["recipes", "default", "more"], "unexpected argument 'more'"),
        (["policies", "simclrr"], "unknown policy 'simclrr': did you mean 'simclr'"),
        (["policies", "weak"], "weak has no operations"),
        (["policies", "simclr", "--sze=3"], "unknown flag --sze: did you mean '--size'"),
        (["views", "shapes", "--step=3"], "--replay RUN is wanted beside it"),
        (["views", "--replay", "no/such"], "no/such is no run folder"),
        (["data", "check"], "is missing"),
        (["demo", "--secnds=3"], "unknown flag --secnds: did you mean '--seconds'"),
    ],
)
def test_mistake_ends_with_code_2_and_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards every mistake against a traceback: what was wrong and what is accepted, in a line."""
    assert message in fails(capsys, *words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--views.layout=masrl"], "unknown layout 'masrl': did you mean 'massrl'"),
        (["--views.policies=simclr,weka"], "unknown policy 'weka': did you mean 'weak'"),
        (["--views.policies=simclr,no/such.yaml"], "cannot read the policy file no/such.yaml"),
        (["--data.train=no/such/folder"], "'no/such/folder' is neither a path"),
        (["--data.train="], "no images to learn from: --data.train"),
        (["--model.backbone=resnet81"], "resnet18"),
        (["--data.batch_size=64"], "--data.batch_size to 20"),
    ],
)
def test_mistake_found_when_the_run_starts_is_one_line_too(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    """Guards names that only the data or the networks can judge; and no half-made run is left."""
    shapes = ["--data.train=shapes(count=20,size=16)", "--train.max_steps=1", "--data.workers=0"]
    out = tmp_path / "run"
    assert main(["pretrain", *shapes, f"--out={out}", *words]) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("massrl: ")
    assert message in err.splitlines()[-1]
    assert not out.exists()


def test_debug_shows_the_whole_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Guards the way to a traceback for those who mend massrl itself."""
    with pytest.raises(ConfigError, match="unknown command"):
        main(["pretrian", "--debug"])


def test_interruption_ends_with_code_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards a second Ctrl-C against a traceback, but for --debug."""

    def interrupt(words: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(VERBS, "policies", Verb("", interrupt))
    assert main(["policies"]) == 130
    assert capsys.readouterr().err == "massrl: stopped\n"
    with pytest.raises(KeyboardInterrupt):
        main(["policies", "--debug"])


def test_pretrain_without_a_recipe_takes_the_default_one(pretrained: list[Config]) -> None:
    """Guards ``massrl pretrain --data.train photos/``."""
    assert main(["pretrain", "--data.train", "photos"]) == 0
    (config,) = pretrained
    assert (config.recipe, config.data.train) == ("default", "photos")
    assert config.model.projector.hidden == 2048


def test_pretrain_lays_flags_over_file_over_recipe(pretrained: list[Config], tmp_path: Any) -> None:
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
    pretrained: list[Config], tmp_path: Any
) -> None:
    """Guards the repeat of a run against the folder of the run itself."""
    file = tmp_path / "config.yaml"
    file.write_text(f"out: {tmp_path}\n")
    assert main(["pretrain", "--config", str(file)]) == 0
    assert pretrained[0].out == ""


def test_pretrain_on_a_file_that_names_a_recipe_lays_it_over_that_recipe(
    pretrained: list[Config], tmp_path: Any
) -> None:
    """Guards against a run that bears a recipe's name and has none of its numbers."""
    file = tmp_path / "own.yaml"
    file.write_text("recipe: cifar10-byol\ndata: {limit: 100}\n")
    assert main(["pretrain", f"--config={file}"]) == 0
    (config,) = pretrained
    assert (config.recipe, config.optim.name, config.data.limit) == ("cifar10-byol", "lars", 100)


def test_recipe_that_cannot_lie_under_a_file_is_refused(
    pretrained: list[Config], tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards against a recipe that is named, printed and without any effect."""
    file = tmp_path / "own.yaml"
    file.write_text("recipe: cifar10-byol\n")
    assert "builds on the recipe 'cifar10-byol'" in fails(
        capsys, "pretrain", f"--config={file}", "--recipe=shapes-byol"
    )
    assert main(["pretrain", f"--config={file}", "--recipe=cifar10-byol"]) == 0
    assert [config.recipe for config in pretrained] == ["cifar10-byol"]


def test_help_of_pretrain_shows_what_the_default_recipe_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Guards against a help that names the values of nobody's run."""
    main(["pretrain", "--help"])
    lines = capsys.readouterr().out.splitlines()
    (objective,) = (line for line in lines if "--method.name" in line)
    (hidden,) = (line for line in lines if "--model.projector.hidden" in line)
    assert objective.endswith("[simclr]")
    assert hidden.endswith("[2048]")


def test_recipe_given_twice_counts_the_last_time(pretrained: list[Config]) -> None:
    """Guards the shell's own habit: what is typed later wins."""
    main(["pretrain", "--recipe", "shapes-byol", "--recipe=cifar10-byol"])
    assert pretrained[0].recipe == "cifar10-byol"


def test_pretrain_that_was_stopped_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards the line that a user needs after Ctrl-C."""
    import massrl.commands.pretrain

    run = tmp_path / "my run"
    write_text(run / "config.yaml", config_text(Config()))
    session = SimpleNamespace(skipped={"a": "b"}, stopped_by="SIGINT", step=3, seconds=1.0)
    result = SimpleNamespace(session=session, folder=run, is_main=True)
    asked: list[Config] = []
    monkeypatch.setattr(
        massrl.commands.pretrain, "resume", lambda _, config: asked.append(config) or result
    )
    assert main(["pretrain", "--resume", str(run), "--data.workers", "3"]) == 0
    assert asked == [Config(data=DataConfig(workers=3))]
    captured = capsys.readouterr()
    assert f"massrl pretrain --resume '{run}'" in captured.out
    assert "1 broken images were skipped" in captured.err


def test_recipes_are_listed_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    """Guards the list against a recipe that is left out, or takes more than its line."""
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:-2]] == recipe_names()


def test_recipe_shown_is_a_configuration_that_can_be_read_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    """Guards ``massrl recipes NAME > my.yaml``, the way to a recipe of one's own."""
    from massrl.config.files import read_layers
    from massrl.config.parser import make_config

    assert main(["recipes", "cifar10-byol"]) == 0
    file = tmp_path / "my.yaml"
    file.write_text(capsys.readouterr().out)
    assert "# expect: 86.8" in file.read_text()
    assert make_config(read_layers(file)) == make_config(read_layers("cifar10-byol"))


def test_policies_lists_every_strategy_and_layout(capsys: pytest.CaptureFixture[str]) -> None:
    """Guards the list: a policy that cannot be found is not used."""
    assert main(["policies"]) == 0
    out = capsys.readouterr().out
    for strategy in POLICIES.values():
        assert f"  {strategy.signature}" in out
        assert strategy.summary in out
    for layout in LAYOUTS.values():
        assert f"\n  {layout.name} " in out
        assert layout.summary in out


def test_data_check_ends_with_1_where_images_are_broken(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards scripts that ask whether a folder is whole: 0 yes, 1 no."""
    import cv2
    import numpy as np

    good = cv2.imencode(".png", np.full((8, 8, 3), 90, np.uint8))[1].tobytes()
    (tmp_path / "good.png").write_bytes(good)
    assert main(["data", "check", str(tmp_path)]) == 0
    (tmp_path / "broken.png").write_bytes(good[:-30])
    assert main(["data", "check", str(tmp_path)]) == 1
    assert "broken.png" in capsys.readouterr().out
