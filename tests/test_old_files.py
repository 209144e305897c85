"""Files that version 0.1.0 wrote are still understood: see ``tests/fixtures/version-0.1.0/README.md``."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import load_file

import massrl
from massrl.cli import main
from massrl.commands import COMMANDS
from massrl.config.evaluation import EvaluateConfig
from massrl.config.files import config_text, load_config, read_layers
from massrl.config.layers import flat
from massrl.config.parser import flags, make_config
from massrl.config.pretrain import Config
from massrl.config.renamed import METRICS_COLUMNS, RESULT_KEYS, renamed_fault, renamed_field
from massrl.evaluation.results import read_results, task_title
from massrl.recipes import recipe_names
from massrl.registry import TASKS
from massrl.report.run_page import report_run
from massrl.runs.folder import RunFolder
from massrl.runs.metrics import COLUMNS, read_metrics
from massrl.train.checkpoint import load_checkpoint
from massrl.views.layouts import resolve_layout

OLD = Path(__file__).parent / "fixtures" / "version-0.1.0"
CONFIGS = sorted([*OLD.glob("configs/*.yaml"), *OLD.glob("*/config.yaml")])
FLAGS: dict[str, list[str]] = json.loads((OLD / "help" / "flags.json").read_text())
QUIET = Console(quiet=True)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the old runs in the current folder, with the network that one of them names."""
    for name in ("byol-stopped", "simclr-done"):
        shutil.copytree(OLD / name, tmp_path / name)
    shutil.copy(OLD / "fixture_network.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    yield tmp_path
    sys.modules.pop("fixture_network", None)


def test_fixtures_were_found() -> None:
    """Guards the tests below: over no files they would always hold."""
    assert len(CONFIGS) == 9
    assert len(FLAGS) == 13
    assert sum(map(len, FLAGS.values())) > 250


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.parent.name + "-" + path.stem)
def test_every_value_of_an_old_config_is_read_under_its_present_name(path: Path) -> None:
    """Guards repeats and resumes against a value that is lost, changed, or refused."""
    old = flat(yaml.safe_load(path.read_text(encoding="utf-8")))
    config = load_config(path)
    new = flat(config.to_dict())
    own = {"mine.yaml", "policies/1-mine.yaml"}  # a policy file is found beside the configuration
    for name, value in old.items():
        present = new[renamed_field(name, Config) or name]
        if name == "views.policies" and value is not None and own & set(value):
            present = [
                str(Path(item).relative_to(path.parent)) if "/" in item else item
                for item in present
            ]
        assert present == value, name
    assert resolve_layout(config.views).num_views >= 2
    assert make_config(yaml.safe_load(config_text(config))) == config
    assert make_config(read_layers(path)).method == config.method


def test_old_run_is_resumed_to_the_weights_that_the_old_version_came_to(workplace: Path) -> None:
    """Guards a run that began with version 0.1.0: checkpoint, configuration, metrics, data."""
    result = massrl.resume("byol-stopped", console=QUIET)
    assert (result.session.step, result.session.stopped_by) == (16, None)
    done, ours = OLD / "byol-stopped-finished", workplace / "byol-stopped"
    wanted, made = (load_file(folder / "backbone.safetensors") for folder in (done, ours))
    before = load_file(OLD / "byol-stopped" / "backbone.safetensors")
    assert set(made) == set(wanted)
    for name, tensor in wanted.items():  # to rounding: bit for bit on the machine that wrote them
        assert torch.allclose(made[name], tensor, rtol=0, atol=1e-6), name
    assert any((before[name] - tensor).abs().max() > 0.07 for name, tensor in wanted.items())
    states = [load_checkpoint(folder / "checkpoints" / "last.ckpt") for folder in (done, ours)]
    assert states[0]["step"] == states[1]["step"] == 16
    for name, tensor in states[0]["method"].items():
        assert torch.allclose(states[1]["method"][name], tensor, rtol=0, atol=1e-4), name


def test_metrics_of_an_old_run_are_continued(workplace: Path) -> None:
    """Guards curves: the old rows stay, under the present columns, and the new ones follow."""
    massrl.resume("byol-stopped", console=QUIET)
    rows = read_metrics(workplace / "byol-stopped" / "metrics.csv")
    with (OLD / "byol-stopped-finished" / "metrics.csv").open(newline="") as file:
        wanted = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["step"] for row in rows] == [row["step"] for row in wanted]
    for row, old in zip(rows, wanted, strict=True):
        for name in ("epoch", "loss", "lr", "tau", "knn", *METRICS_COLUMNS):
            value = row[METRICS_COLUMNS.get(name, name)]
            assert bool(value) == bool(old[name]), name
            if value:
                assert float(value) == pytest.approx(float(old[name]), rel=1e-3), name


def test_columns_of_old_metrics_are_all_still_there() -> None:
    """Guards a column against being dropped without a place in the table of renamed ones."""
    (header, *_) = (OLD / "simclr-done" / "metrics.csv").read_text().splitlines()
    assert {METRICS_COLUMNS.get(name, name) for name in header.split(",")} <= set(COLUMNS)


@pytest.mark.parametrize("random_init", [False, True])
def test_old_results_are_read_with_every_metric(random_init: bool) -> None:
    """Guards ``results.json``: every task and number is there, under its present name."""
    name = "results-untrained.json" if random_init else "results.json"
    old = json.loads((OLD / "simclr-done" / name).read_text())
    new = read_results(OLD / "simclr-done", random_init=random_init)
    assert len(new["tasks"]) == len(old["tasks"])
    assert new["backbone"]["random_init"] == random_init
    for before, (task, after) in zip(old["tasks"].values(), new["tasks"].items(), strict=True):
        assert task_title(task)
        for key, value in before.items():
            if key != "config":
                assert after[RESULT_KEYS.get(key, key)] == value
        known = {name.removeprefix("--") for name in flags(EvaluateConfig)}
        assert set(flat(after["config"])) <= known
    assert set(flat(new["run"])) == set(flat(Config().to_dict()))


def test_page_of_an_old_run_is_made_again(workplace: Path) -> None:
    """Guards ``report.html`` of an old run with every evaluation of it."""
    page = report_run(RunFolder(workplace / "simclr-done")).read_text(encoding="utf-8")
    results = read_results(workplace / "simclr-done")
    for task, outcome in results["tasks"].items():
        assert task == "features" or task_title(task) in page, task
        if "acc1" in outcome:
            assert f"{outcome['acc1']:.1f}" in page, task
    for invariance in ("crop", "flip", "simclr(blur_prob=0)"):
        assert invariance in page


def test_new_evaluation_keeps_the_old_results_of_the_same_weights(workplace: Path) -> None:
    """Guards old metrics against being lost, or doubled, beside a new one."""
    before = read_results(workplace / "simclr-done")["tasks"]
    data = {
        "train": "shapes(count=60,size=32)",
        "val": "shapes(count=30,size=32)",
        "limit": 50,
        "on_error": "skip",
    }
    evaluated = massrl.evaluate(
        "simclr-done",
        {"task": ["knn"], "data": data, "k": 10, "temperature": 0.1, "cache": False},
        console=QUIET,
    )
    tasks = evaluated["tasks"]
    assert set(tasks) == set(before)
    for key in ("acc1", "acc5", "confusion", "data", "k"):  # the same images, weights and settings
        assert tasks["knn"][key] == before["knn"][key], key
    for name, outcome in before.items():
        if name != "knn":
            assert tasks[name] == outcome


def test_old_results_are_compared_with_present_ones(workplace: Path) -> None:
    """Guards ``massrl compare`` between a run of each version."""
    present = workplace / "present"
    present.mkdir()
    results = read_results(workplace / "simclr-done")
    (present / "results.json").write_text(json.dumps(results))
    folders = [str(workplace / "simclr-done"), str(present)]
    page, comparison = massrl.compare({"folders": folders, "out": str(workplace / "out")})
    assert page.is_file()
    assert set(comparison.backbones["present"]) == set(comparison.backbones["simclr-done"])
    rows = {row[0]: row[1:] for row in comparison.headline_rows()}
    assert rows["present"] == rows["simclr-done"]


def test_backbone_of_an_old_run_is_loaded_and_exported(workplace: Path) -> None:
    """Guards weights that were trained with version 0.1.0, and their model card."""
    backbone = massrl.load_backbone(workplace / "simclr-done")
    with torch.no_grad():
        assert backbone(torch.zeros(2, 3, 32, 32)).shape == (2, backbone.num_features)
    file, card = massrl.export_backbone({"backbone": "simclr-done"})
    assert file.is_file()
    text = card.read_text(encoding="utf-8")
    assert "simclr, 36 optimiser steps" in text
    assert "10.00" in text or "10.0" in text  # the linear probe's


@pytest.mark.parametrize("command", FLAGS)
def test_old_flag_is_accepted_or_refused_with_its_new_name(command: str) -> None:
    """Guards scripts: no flag of version 0.1.0 may be unknown, or change what it means in silence."""
    row = COMMANDS[command]
    known = {flag.split()[0] for flag, _ in row.own_flags}
    kind: Any = None
    if row.options is not None:
        module, _, name = row.options.partition(":")
        kind = getattr(import_module(module), name)
        known |= set(flags(kind))
    for flag in FLAGS[command]:
        fault = renamed_fault(flag[2:], kind, flag=True) if kind else None
        assert (flag in known) != (fault is not None), flag
        if fault is not None:
            assert fault.rpartition(" ")[2] in known


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pretrain", "--method.objective", "byol"], "--method.objective is now --method.name"),
        (["pretrain", "--train.seconds=9"], "--train.seconds is now --train.time_budget"),
        (["evaluate", "x", "--untrained"], "--untrained is now --random_init"),
        (["evaluate", "x", "--semi.rates=1"], "--semi.rates is now --semi.lrs"),
        (["evaluate", "x", "--look.rows=1"], "--look.rows is now --features.rows"),
        (["evaluate", "x", "--task=knn,look"], "'look' is now 'features'"),
    ],
)
def test_old_command_line_is_answered_with_what_to_write(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards scripts of version 0.1.0: one line, exit code 2, the new name."""
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_old_names_of_parts_and_recipes_are_all_still_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Guards configurations against a policy, layout or recipe that is gone."""
    old = (OLD / "help" / "list-of-policies.txt").read_text().splitlines()
    assert main(["policies"]) == 0
    new = {
        line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")
    }
    assert {line.split()[0] for line in old if line.startswith("  ")} <= new
    lines = (OLD / "help" / "list-of-recipes.txt").read_text().splitlines()
    assert {line.split()[0] for line in lines if "  " in line} <= set(recipe_names())
    assert len(TASKS) == 0 or {"knn", "linear", "linear-sgd", "transfer"} <= set(TASKS)
