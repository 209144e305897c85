"""The initial weights of a run: seeded, or those of another run."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import ABOUT
from tests.train.conftest import (
    EVERY_THIRD,
    assert_identical,
    copy_at,
    quiet,
    resolved,
    run,
    weights,
)
from torchvision.models import ResNet18_Weights, resnet18

from massrl.commands.export import export_backbone
from massrl.commands.import_backbone import import_backbone
from massrl.commands.pretrain import resume
from massrl.config.files import load_config
from massrl.config.parser import make_config
from massrl.config.pretrain import Config
from massrl.data.build import training_source
from massrl.errors import CheckpointError, ConfigError
from massrl.files import written_by
from massrl.methods.base import Method
from massrl.runs.environment import detect_hardware
from massrl.runs.folder import RunFolder
from massrl.runs.provenance import labels_used
from massrl.train.checkpoint import load_checkpoint
from massrl.train.initialize import (
    backbone_of_weights,
    describe_start,
    drop_init_from,
    local_size,
    make_method,
    read_start,
)
from massrl.train.resolve import resolve_config
from massrl.views.layouts import resolve_layout
from massrl.weights.backbone_file import load_backbone_file, save_backbone
from massrl.weights.load import load_backbone, random_backbone


@pytest.fixture(scope="module")
def parent(finished: tuple[Path, Path]) -> Path:
    """A run to start from."""
    return finished[0]


def made(config: Config) -> Method:
    return make_method(config, resolve_layout(config.views))


def initialized(path: Path, caplog: pytest.LogCaptureFixture, **model: Any) -> tuple[Method, str]:
    """The networks of a run that starts from these weights, and what is logged of it."""
    with caplog.at_level(logging.INFO, logger="massrl"):
        method = made(resolved(model={"init_from": str(path), **model}))
    return method, caplog.text


def test_weights_are_seeded_and_views_those_of_the_layout() -> None:
    """Guards ``--train.seed`` and ``--views.layout`` on their way to the objective."""
    one, other, another = (made(resolved(train={"seed": seed})) for seed in (3, 3, 4))
    state = one.state_dict()
    assert all(torch.equal(item, state[name]) for name, item in other.state_dict().items())
    assert not torch.equal(another.projector[0].weight, one.projector[0].weight)  # type: ignore[index, union-attr, operator]
    assert one.num_views == 4
    assert one.settings.memory == "streamed"


def test_local_crops_with_joint_batch_norm_are_refused() -> None:
    """Guards against views of two sizes in one batch."""
    config = resolved(views={"local_crops": 2})
    config = replace(config, method=replace(config.method, batch_norm="joint"))
    with pytest.raises(ConfigError, match="use --method.batch_norm per-view"):
        made(config)


@pytest.mark.parametrize(
    ("views", "told"),
    [
        ({"size": 20}, "would not see the last 4; --views.size 16 or 32 are accepted"),
        (
            {"size": 32, "local_crops": 2, "local_size": 0.7},
            r"see the last 6; --views.local_size 0.5 \(16 px\) is accepted",
        ),
    ],
)
def test_sizes_of_views_that_a_backbone_does_not_take_are_refused_before_the_run(
    views: dict[str, Any], told: str
) -> None:
    """Guards an assertion of timm's at the first step."""
    config = resolved(views=views, model={"backbone": "vit_tiny_patch16_224"})
    with pytest.raises(ConfigError, match=told):
        make_method(config, resolve_layout(config.views))


def test_vision_transformer_is_trained_on_local_crops(tmp_path: Path) -> None:
    """Guards what local crops were invented for; the smaller views are of whole patches by themselves."""
    views = {"layout": "byol", "size": 32, "local_crops": 2}
    model = {"backbone": "vit_tiny_patch16_224", "predictor": {"hidden": 8}}
    result = run(tmp_path / "run", views=views, model=model, train={"max_steps": 1})
    assert result.config.views.local_size == 0.5
    assert result.session.step == 1


def test_size_of_local_views_is_the_shortest_text_that_gives_it() -> None:
    """Guards a suggestion of sixteen digits, and one that gives another size; all pairs up to 64 px."""
    assert [local_size(side, 64) for side in (16, 32, 27)] == ["0.25", "0.5", "0.42"]
    assert local_size(96, 224) == "0.43"  # 96.32
    for size in range(1, 65):
        for side in range(1, size + 1):
            assert round(float(local_size(side, size)) * size) == side


def test_networks_start_with_the_weights_of_another_run(
    parent: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards ``--init-from``: all networks that fit, and a target that is a copy of the online one."""
    method, log = initialized(parent, caplog)
    saved = load_checkpoint(parent / "checkpoints" / "last.ckpt")["method"]
    for name, tensor in method.state_dict().items():
        assert torch.equal(tensor, saved[name.removeprefix("target_")]), name
    assert f"weights  backbone, projector, predictor from {parent}" in log
    assert "random" not in log


def test_heads_that_do_not_fit_start_with_random_weights_and_are_logged(
    parent: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards weights that are dropped in silence; a backbone file has no heads at all."""
    _, log = initialized(parent, caplog, projector={"layers": 2, "hidden": 16, "out": 12})
    assert f"backbone from {parent}; projector, predictor with random weights" in log
    caplog.clear()
    _, log = initialized(parent / "backbone.safetensors", caplog)
    assert "backbone.safetensors; projector, predictor with random weights" in log


def test_weights_of_another_backbone_are_refused(
    parent: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards against a run that starts with random weights and says otherwise."""
    expected = "--model.backbone resnet10-narrow --model.stem small"
    with pytest.raises(CheckpointError, match=expected):
        initialized(parent, caplog, backbone="resnet10-tiny")
    with pytest.raises(CheckpointError, match="nothing.safetensors"):
        initialized(tmp_path / "nothing.safetensors", caplog)


@pytest.mark.parametrize("name", ["", "backbone.safetensors"])
def test_open_backbone_is_that_of_the_weights(parent: Path, name: str) -> None:
    """Guards "start from these weights" against the backbone that the machine would select."""
    own = load_config(parent / "config.yaml")
    assert backbone_of_weights(parent / name) == (own.model.backbone, own.model.stem)
    model = {**own.to_dict()["model"], "backbone": None, "stem": "auto"}
    config = make_config({**own.to_dict(), "model": {**model, "init_from": str(parent / name)}})
    source = training_source(config.data)
    config, notes = resolve_config(config, source, detect_hardware("cpu"))
    assert (config.model.backbone, config.model.stem) == (own.model.backbone, own.model.stem)
    assert any("the backbone of" in note for note in notes)


def test_new_run_has_steps_and_optimiser_of_its_own(parent: Path, tmp_path: Path) -> None:
    """Guards ``--init-from`` against ``--resume``: only weights are taken from the other run."""
    out = tmp_path / "run"
    whole = run(out, model={"init_from": str(parent)}, train={"max_steps": 1}).folder
    content = load_checkpoint(whole / "checkpoints" / "last.ckpt")
    assert content["step"] == 1
    assert drop_init_from(load_config(whole / "config.yaml")).model.init_from is None


def test_run_is_resumed_when_the_weights_it_started_from_are_gone(
    completed: Path, tmp_path: Path
) -> None:
    """Guards resume against starting from those weights again, or needing them."""
    whole, crashed = tmp_path / "whole", tmp_path / "crashed"
    with pytest.MonkeyPatch.context() as patch:
        copy_at(patch, 5, 0, folder=whole, to=crashed)
        model = {"init_from": str(completed)}
        run(whole, model=model, train={"max_steps": 6, **EVERY_THIRD})
    completed.rename(tmp_path / "gone")
    resume(crashed, console=quiet())
    assert_identical(weights(whole), weights(crashed))


def test_labels_and_licence_travel_from_import_over_two_runs_to_the_export(
    completed: Path, tmp_path: Path
) -> None:
    """Guards "without labels" of networks that were trained from a labelled one, and its licence.

    A run that is resumed, or that starts from a run, keeps them: the first file may be gone by then.
    """
    state = load_backbone(completed).state_dict()
    torch.save({f"net.{key}": item for key, item in state.items()}, tmp_path / "theirs.pth")
    told = {"stem": "small", "labels": "used", "licence": "CC BY-NC 4.0"}
    path, _ = import_backbone({"checkpoint": str(tmp_path / "theirs.pth"), "model": told})
    run(tmp_path / "one", model={"init_from": str(path)}, train={"max_steps": 1})
    path.unlink()
    two = run(tmp_path / "two", model={"init_from": str(tmp_path / "one")}, train={"max_steps": 1})
    assert written_by(two.folder / "start.json") == "pretrain"
    about = load_backbone_file(two.folder / "backbone.safetensors")[1]
    assert labels_used(about) is True
    assert about["start"]["name"] == "one"
    assert about["start"]["start"]["licence"] == "CC BY-NC 4.0"
    for backbone in (two.folder, two.folder / "backbone.safetensors"):
        out = {"backbone": str(backbone), "out": str(tmp_path / f"{backbone.stem}.safetensors")}
        text = export_backbone(out)[1].read_text(encoding="utf-8")
        assert "from weights that were trained with labels" in text
        assert "without labels" not in text
        assert "`theirs.pth`, which training started from: CC BY-NC 4.0" in text


def test_run_starts_from_the_weights_of_a_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards ``--init-from torchvision:…``: the library's weights, their labels and their network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    theirs = resnet18()
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(theirs.state_dict(), folder / ResNet18_Weights.DEFAULT.url.rpartition("/")[2])
    name = "torchvision:resnet18"
    assert backbone_of_weights(name) == ("resnet18", "standard")
    config = resolved(model={"init_from": name, "backbone": "resnet18", "stem": "standard"})
    assert config.model.init_from == name
    method = made(config)
    expected = theirs.state_dict()
    for key, item in method.backbone.state_dict().items():
        assert torch.equal(item, expected[key]), key
    start = describe_start(config, method)
    assert start is not None
    assert (start["source"], start["labels"], start["weights"]) == (name, "used", "IMAGENET1K_V1")


def test_start_that_an_older_run_did_not_record_is_of_unknown_labels(tmp_path: Path) -> None:
    """Guards "no labels" of a run of which only the path of its initial weights is known."""
    config = resolved(model={"init_from": None})
    assert read_start(RunFolder(tmp_path), config) is None
    config = replace(config, model=replace(config.model, init_from="/gone/x.safetensors"))
    start = read_start(RunFolder(tmp_path), config)
    assert start == {"name": "x.safetensors", "source": "x.safetensors"}
    assert labels_used({"start": start}) is None


def test_weights_for_another_size_are_refused_with_the_flag_that_helps(tmp_path: Path) -> None:
    """Guards a remedy that changes nothing: the backbone is the right one, the size is not."""
    name = "vit_tiny_patch16_224"
    about = {**ABOUT, "backbone": name, "stem": "standard", "size": 64}
    save_backbone(tmp_path / "x.safetensors", random_backbone(about).state_dict(), about=about)
    with pytest.raises(CheckpointError, match="for images of 64 px: use --views.size 64$"):
        made(
            resolved(
                model={"init_from": str(tmp_path / "x.safetensors"), "backbone": name},
                views={"size": 32},
            )
        )
