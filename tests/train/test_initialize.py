"""A new run from the weights of another one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.train.conftest import quiet, run
from tests.train.test_resume import (
    EVERY_THIRD,
    PowerCutError,
    assert_identical,
    cut_at,
    weights,
)

from massrl.commands.pretrain import resume
from massrl.config.files import load_config
from massrl.config.parser import make_config
from massrl.data.build import training_source
from massrl.errors import CheckpointError
from massrl.runs.environment import detect_hardware
from massrl.runs.metrics import read_metrics
from massrl.train.initialize import make_method
from massrl.train.resolve import resolve_config


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("parent") / "run", train={"max_steps": 4}).folder


def test_run_starts_anew_from_the_weights_of_another(parent: Path, tmp_path: Path) -> None:
    """Guards "never confused": step, schedule, optimiser and target are new, the weights are not."""
    config = load_config(parent / "config.yaml").to_dict()
    config = {**config, "model": {**config["model"], "init_from": str(parent)}}
    method = make_method(make_config(config))
    kept = torch.load(parent / "checkpoints" / "last.ckpt", weights_only=True)["method"]
    state = method.state_dict()
    online = [name for name in state if not name.startswith("target")]
    assert all(torch.equal(state[name], kept[name]) for name in online)
    for name in state:
        if name.startswith("target_"):
            assert torch.equal(state[name], kept[name.removeprefix("target_")])
    model = {"init_from": str(parent)}
    folder = run(tmp_path / "run", model=model, train={"max_steps": 3}).folder
    assert [row["step"] for row in read_metrics(folder / "metrics.csv")] == ["0", "1", "2"]
    log = (folder / "log.txt").read_text(encoding="utf-8")
    assert f"weights  backbone, projector, predictor from {parent}" in log


def test_heads_that_do_not_fit_start_anew_and_are_named(parent: Path, tmp_path: Path) -> None:
    """Guards weights that are silently dropped; a backbone's file has no heads at all."""
    model = {"init_from": str(parent), "projector": {"layers": 2, "hidden": 16, "out": 12}}
    folder = run(tmp_path / "a", model=model, train={"max_steps": 1}).folder
    log = (folder / "log.txt").read_text(encoding="utf-8")
    assert f"backbone from {parent}; projector, predictor start from fresh weights" in log
    model = {"init_from": str(parent / "backbone.safetensors")}
    folder = run(tmp_path / "b", model=model, train={"max_steps": 1}).folder
    log = (folder / "log.txt").read_text(encoding="utf-8")
    assert "backbone.safetensors; projector, predictor start from fresh weights" in log


def test_other_backbone_is_refused_before_anything_is_written(parent: Path, tmp_path: Path) -> None:
    """Guards a run that would begin with random weights and say otherwise."""
    for model, message in (
        (
            {"init_from": str(parent), "backbone": "resnet10-tiny"},
            "--model.backbone resnet10-narrow --model.stem small is theirs",
        ),
        ({"init_from": str(tmp_path / "nothing.safetensors")}, "nothing.safetensors"),
    ):
        with pytest.raises(CheckpointError, match=message):
            run(tmp_path / "run", model=model)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["", "backbone.safetensors"])
def test_backbone_that_is_left_open_is_that_of_the_weights(parent: Path, name: str) -> None:
    """Guards "start from these weights" against the network that the machine would have chosen."""
    own = load_config(parent / "config.yaml")
    open_ = {**own.to_dict()["model"], "backbone": None, "stem": "auto"}
    config = make_config(
        {**own.to_dict(), "model": {**open_, "init_from": str(parent / name)}},
    )
    source = training_source(config.data)
    resolved, notes = resolve_config(config, source, detect_hardware("cpu"))
    assert (resolved.model.backbone, resolved.model.stem) == (own.model.backbone, own.model.stem)
    assert any("as the weights of" in note for note in notes)


def test_run_goes_on_when_what_it_started_from_is_gone(
    parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards resume against starting from the parent again, or needing it."""
    moved = tmp_path / "moved"
    model = {"init_from": str(moved)}
    parent.rename(moved)
    whole = run(tmp_path / "whole", model=model, train={"max_steps": 6})
    with monkeypatch.context() as patch:
        cut_at(patch, 5)
        with pytest.raises(PowerCutError):
            run(tmp_path / "cut", model=model, train={"max_steps": 6, **EVERY_THIRD})
    moved.rename(parent)
    resume(tmp_path / "cut", console=quiet())
    assert_identical(weights(whole.folder), weights(tmp_path / "cut"))
