"""Exports: each file is loaded by the lines of its own card, strictly, and gives the same features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from massrl.commands.export import export_backbone, import_backbone
from massrl.errors import CheckpointError, ConfigError
from massrl.evaluation.feature_cache import network_fingerprint
from massrl.weights import formats
from massrl.weights.backbone_file import save_backbone
from massrl.weights.load import load_backbone, random_backbone

ABOUT = {
    "size": 32,
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.25, 0.3],
    "seed": 3,
    "recipe": "",
    "step": 5,
}


def trained(folder: Path, backbone: str, stem: str, *, size: int = 32) -> Path:
    """A file with weights and statistics that no constructor makes."""
    about = {**ABOUT, "backbone": backbone, "stem": stem, "size": size}
    network = random_backbone(about)
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    path = folder / "backbone.safetensors"
    save_backbone(path, network.state_dict(), about)
    return path


def program_of(card: Path) -> str:
    return card.read_text(encoding="utf-8").split("```python\n")[1].split("\n```")[0]


CASES = [
    ("resnet18", "standard", "torchvision"),
    ("resnet18", "small", "torchvision"),
    ("resnet18", "small-pad2", "torchvision"),
    ("resnet18", "standard", "timm"),
    ("resnet18", "small", "timm"),
    ("timm:vit_tiny_patch16_224", "standard", "timm"),
    ("resnet10-narrow", "small", "safetensors"),
    ("resnet10-narrow", "small", "onnx"),
    ("resnet18", "small-pad2", "onnx"),
]


@pytest.mark.filterwarnings("default")  # of the exporter's own packages
@pytest.mark.parametrize(("backbone", "stem", "kind"), CASES)
def test_file_is_loaded_by_the_lines_of_its_card(
    backbone: str, stem: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards "gives files that the other tool loads strictly", and the lines that say how."""
    if kind == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    path = trained(tmp_path, backbone, stem)
    file, card = export_backbone({"backbone": str(path), "format": kind})
    assert card == file.with_suffix(".md")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    with torch.inference_mode():
        exec(program_of(card), names)  # what a reader of the card would paste
        wanted = load_backbone(path)(names["images"])
        given = torch.as_tensor(names["features"])
    assert given.shape == (8, wanted.shape[1])
    tolerance = 1e-4 * float(wanted.abs().max())
    torch.testing.assert_close(given, wanted, atol=tolerance, rtol=0)


@pytest.mark.parametrize("kind", ["torchvision", "timm"])
def test_tool_without_such_a_network_is_said(kind: str, tmp_path: Path) -> None:
    """Guards a file that nothing can load."""
    path = trained(tmp_path, "resnet10-tiny", "small")
    with pytest.raises(ConfigError, match=f"{kind} has no resnet10-tiny"):
        export_backbone({"backbone": str(path), "format": kind})
    assert [item.name for item in tmp_path.iterdir()] == ["backbone.safetensors"]


def test_export_that_gives_other_features_is_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the comparison with ONNX Runtime: it must be able to fail."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    monkeypatch.setattr(formats, "_ONNX_TOLERANCE", 0.0)
    path = trained(tmp_path, "resnet10-tiny", "small")
    with pytest.raises(CheckpointError, match="features differ"):
        export_backbone({"backbone": str(path), "format": "onnx"})
    assert not (tmp_path / "backbone-onnx.onnx").exists()


def test_names_and_places_of_exports(tmp_path: Path) -> None:
    """Guards ``--out``, and an export that would lie about its kind."""
    path = trained(tmp_path, "resnet10-tiny", "small")
    file, card = export_backbone(
        {"backbone": str(path), "out": str(tmp_path / "a" / "x.safetensors")}
    )
    assert (file, card) == (tmp_path / "a" / "x.safetensors", tmp_path / "a" / "x.md")
    with pytest.raises(ConfigError, match=r"ends in \.safetensors"):
        export_backbone({"backbone": str(path), "out": str(tmp_path / "x.pth")})
    with pytest.raises(ConfigError, match="--format"):
        export_backbone({"backbone": str(path), "format": "keras"})


def test_import_takes_accounts_and_keeps_how_images_are_prepared(tmp_path: Path) -> None:
    """Guards a round trip through another project's layout, statistics included."""
    original = load_backbone(trained(tmp_path, "resnet18", "small-pad2"))
    layout = {f"encoder.{key}": item for key, item in original.state_dict().items()}
    torch.save({"state_dict": {**layout, "head.weight": torch.ones(2, 3)}}, tmp_path / "x.ckpt")
    wanted = {
        "checkpoint": str(tmp_path / "x.ckpt"),
        "stem": "small-pad2",
        "mean": ABOUT["mean"],
        "std": ABOUT["std"],
    }
    file, lines = import_backbone(wanted)
    assert file == tmp_path / "x.safetensors"
    assert lines[0].startswith("taken  state_dict/encoder: resnet18, small-pad2 stem, 120 tensors")
    assert "left   state_dict/head: 1 tensor of 6 numbers" in lines
    taken = load_backbone(file)
    assert {key: taken.about[key] for key in ("size", "mean", "std", "stem", "source", "part")} == {
        "size": 32,
        "mean": ABOUT["mean"],
        "std": ABOUT["std"],
        "stem": "small-pad2",
        "source": "x.ckpt",
        "part": "state_dict/encoder",
    }
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(taken(images), original(images))
    text = export_backbone({"backbone": str(file)})[1].read_text(encoding="utf-8")
    assert "Its weights are those of `x.ckpt`, part `state_dict/encoder`" in text
    assert "the weights: as their source says" in text


def test_import_says_what_it_cannot_know(tmp_path: Path) -> None:
    """Guards the padding of a small stem, which no weight tells."""
    network = random_backbone({**ABOUT, "backbone": "resnet18", "stem": "small"})
    torch.save(network.state_dict(), tmp_path / "x.pth")
    _, lines = import_backbone({"checkpoint": str(tmp_path / "x.pth")})
    assert any("--stem small-pad2" in line for line in lines)


def test_import_never_overwrites_the_file_it_reads(tmp_path: Path) -> None:
    """Guards the only copy of somebody's weights, and what lies beside it under its name."""
    state = load_backbone(trained(tmp_path, "resnet10-tiny", "small")).state_dict()
    plain = {key: item.contiguous() for key, item in state.items()}
    save_file(plain, tmp_path / "theirs.safetensors")
    torch.save(state, tmp_path / "theirs.pth")
    before = (tmp_path / "theirs.safetensors").read_bytes()
    for name in ("theirs.safetensors", "theirs.pth"):
        with pytest.raises(ConfigError, match="--out"):
            import_backbone({"checkpoint": str(tmp_path / name)})
    assert (tmp_path / "theirs.safetensors").read_bytes() == before


def test_card_tells_of_the_run(tmp_path: Path) -> None:
    """Guards data, strategies, figures and licences of the tables against being left out."""
    from tests.train.conftest import run

    folder = run(
        tmp_path / "run",
        views={"layout": "massrl-4", "policies": None, "size": 16},
        train={"max_steps": 2},
    ).folder
    on = {"val": {"name": "shapes/val", "num_images": 1000}}
    figures = {"acc1": 61.5, "acc5": None, "data": on, "software": {"torch": "2.9"}}
    network = load_backbone(folder)
    own = {**network.about, "fingerprint": network_fingerprint(network)}
    results = {"backbone": own, "tasks": {"knn": figures}}
    (folder / "results.json").write_text(json.dumps(results))
    file, card = export_backbone({"backbone": str(folder), "format": "safetensors"})
    assert file == folder / "backbone-safetensors.safetensors"
    text = card.read_text(encoding="utf-8")
    for words in (
        "`randaugment",
        "labels were not used",
        "| k-NN | Acc@1 | 61.50 | 1,000 images of shapes/val |",
        "MIT, © 2019 Ildoo Kim",
        "searched **with labels**",
        "2 optimiser steps",
        "Measured with torch 2.9.",
    ):
        assert words in text


def test_import_of_a_network_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards ``--backbone module:function``: what the user names may run, what a file names may not."""
    (tmp_path / "own_network.py").write_text(
        "from massrl.models.backbones import build_backbone\n"
        "def net():\n    return build_backbone('resnet10-tiny', stem='small', image_side=32)\n"
    )
    monkeypatch.chdir(tmp_path)
    state = load_backbone(trained(tmp_path, "resnet10-tiny", "small")).state_dict()
    torch.save(state, tmp_path / "x.pth")
    wanted = {"checkpoint": "x.pth", "backbone": "own_network:net", "size": 32}
    file, lines = import_backbone(wanted)
    assert "own_network:net" in lines[0]
    with pytest.raises(CheckpointError, match="trust=True"):
        load_backbone(file)
    assert load_backbone(file, trust=True).about["backbone"] == "own_network:net"
