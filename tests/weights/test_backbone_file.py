"""Backbone files: weights and description come back as they were saved."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tests.conftest import ABOUT

from massrl.cli import main
from massrl.errors import CheckpointError
from massrl.files import written_by
from massrl.weights.backbone_file import backbone_about, load_backbone_file, save_backbone
from massrl.weights.load import random_backbone


def test_backbone_file_is_read_as_it_was_saved(tmp_path: Path) -> None:
    """Guards the exported weights: every dtype and layout, and how to build the network."""
    state = {
        "conv.weight": torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last),
        "bn.num_batches_tracked": torch.tensor(5),
        "part": torch.arange(10.0)[2:5],
        "half": torch.ones(2, dtype=torch.bfloat16),
    }
    about = {**ABOUT, "name": "é"}
    path = tmp_path / "backbone.safetensors"
    save_backbone(path, state, about=about)
    loaded, about_read = load_backbone_file(path)
    assert about_read == about
    assert loaded.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(loaded[name], tensor)
        assert loaded[name].dtype == tensor.dtype


def test_file_has_one_key_of_metadata(tmp_path: Path) -> None:
    """Guards equal bytes of equal runs: safetensors orders several keys anew in each process."""
    path = tmp_path / "backbone.safetensors"
    save_backbone(path, {"a": torch.zeros(1)}, about=ABOUT, command="import")
    with safe_open(path, framework="pt") as file:
        assert file.metadata().keys() == {"massrl"}
    assert written_by(path) == "import"


def test_backbone_with_tied_weights_can_be_saved(tmp_path: Path) -> None:
    """Guards the end of a long run: safetensors refuses tensors that share memory."""
    weight = torch.randn(3, 3)
    path = tmp_path / "backbone.safetensors"
    save_backbone(path, {"a": weight, "b": weight, "c": weight[1:]}, about=ABOUT)
    loaded, _ = load_backbone_file(path)
    assert torch.equal(loaded["a"], loaded["b"])
    assert torch.equal(loaded["c"], weight[1:])


@pytest.mark.parametrize("damaged", [b"", b"x" * 100, None, 40])
def test_backbone_file_that_is_damaged_is_refused_in_one_line(tmp_path: Path, damaged: Any) -> None:
    """Guards against a traceback out of safetensors."""
    path = tmp_path / "backbone.safetensors"
    save_backbone(path, {"a": torch.zeros(100)}, about=ABOUT)
    if damaged is None:
        path.unlink()
    else:
        path.write_bytes(damaged if isinstance(damaged, bytes) else path.read_bytes()[:-damaged])
    with pytest.raises(CheckpointError, match="backbone.safetensors") as caught:
        load_backbone_file(path)
    assert "\n" not in str(caught.value)


def test_safetensors_of_another_maker_are_refused(tmp_path: Path) -> None:
    """Guards against weights whose network nobody knows."""
    path = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="is no backbone file of massrl"):
        load_backbone_file(path)
    assert backbone_about(path) is None


@pytest.mark.parametrize("name", ["theirs.pth", "theirs.safetensors"])
def test_checkpoint_of_another_project_is_refused_with_the_command_that_reads_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards "cannot be read as safetensors" for a file that ``massrl import`` reads."""
    monkeypatch.chdir(tmp_path)
    state = random_backbone({**ABOUT, "stem": "standard"}).state_dict()
    save = torch.save if name.endswith(".pth") else save_file
    save({key: item.contiguous() for key, item in state.items()}, name)
    with pytest.raises(CheckpointError, match="no backbone file of massrl") as caught:
        load_backbone_file(Path(name))
    (command,) = re.findall(r"massrl (import \S+)", str(caught.value))
    assert main([*command.split(), "--out", "made.safetensors"]) == 0
    assert load_backbone_file(Path("made.safetensors"))[1]["backbone"] == ABOUT["backbone"]


@pytest.mark.parametrize(
    "wrong",
    [
        *({"stem": None}, {"size": "32"}, {"mean": 0.5}, {"seed": 1.5}, {"backbone": 18}),
        *({"size": 0}, {"size": 1 << 40}, {"seed": 1 << 70}, {"mean": [0.5]}),
        *({"std": [0.1, 0.2, "0.3"]}, {"std": [0.1, 0.2, float("nan")]}),
    ],
)
def test_description_of_another_type_or_range_is_refused(
    tmp_path: Path, wrong: dict[str, Any]
) -> None:
    """Guards against an error of torch's own, deep within a network, for a damaged description."""
    path = tmp_path / "backbone.safetensors"
    save_backbone(path, {"a": torch.zeros(2)}, about={**ABOUT, **wrong})
    for read in (load_backbone_file, backbone_about):
        with pytest.raises(CheckpointError, match="it is damaged"):
            read(path)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", json.dumps({"backbone": "resnet18"})])
def test_description_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    """Guards against a traceback out of json, or a network without its image size."""
    path = tmp_path / "backbone.safetensors"
    save_file({"a": torch.zeros(2)}, path, metadata={"massrl": text})
    with pytest.raises(CheckpointError, match="it is damaged"):
        backbone_about(path)
