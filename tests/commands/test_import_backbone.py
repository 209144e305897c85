"""``massrl import``: every tensor accounted for, nothing overwritten, no code run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.weights.conftest import PREPARED, trained

from massrl.cli import main
from massrl.commands.export import export_backbone
from massrl.commands.import_backbone import ImportConfig, import_backbone
from massrl.config.parser import make
from massrl.errors import ConfigError
from massrl.weights.load import load_backbone

STEM = ["--model.stem", "small"]


def test_round_trip_through_another_layout_keeps_weights_and_description(tmp_path: Path) -> None:
    """Guards the imported file: same features, images prepared as told, and an account of the rest."""
    original = load_backbone(trained(tmp_path, "resnet18", "small-pad2"))
    layout = {f"encoder.{key}": item for key, item in original.state_dict().items()}
    torch.save({"state_dict": {**layout, "head.weight": torch.ones(2, 3)}}, tmp_path / "x.ckpt")
    options = {
        "checkpoint": str(tmp_path / "x.ckpt"),
        "model": {"stem": "small-pad2", "mean": PREPARED["mean"], "std": PREPARED["std"]},
    }
    file, lines = import_backbone(options)
    assert file == tmp_path / "x.safetensors"
    begin = "imported  state_dict/encoder: resnet18, small-pad2 stem, 120 tensors, "
    assert lines[0].startswith(begin)
    assert "unused    state_dict/head: 1 tensor, 6 values" in lines
    imported = load_backbone(file)
    expected = {
        "size": 32,
        "mean": PREPARED["mean"],
        "std": PREPARED["std"],
        "stem": "small-pad2",
        "source": "x.ckpt",
        "part": "state_dict/encoder",
    }
    assert {key: imported.about[key] for key in expected} == expected
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(imported(images), original(images))
    text = export_backbone({"backbone": str(file)})[1].read_text(encoding="utf-8")
    assert "Its weights are from `x.ckpt`, part `state_dict/encoder`, unchanged." in text
    assert "the weights of `x.ckpt`: see their source" in text


def test_file_that_massrl_did_not_write_is_never_overwritten(tmp_path: Path) -> None:
    """Guards the only copy of somebody's weights, and what stands beside it under its name."""
    state = load_backbone(trained(tmp_path, "resnet10-tiny", "small")).state_dict()
    plain = {key: item.contiguous() for key, item in state.items()}
    save_file(plain, tmp_path / "theirs.safetensors")
    torch.save(state, tmp_path / "theirs.pth")
    before = (tmp_path / "theirs.safetensors").read_bytes()
    for name in ("theirs.safetensors", "theirs.pth"):
        with pytest.raises(ConfigError, match="--out"):
            import_backbone({"checkpoint": str(tmp_path / name)})
    assert (tmp_path / "theirs.safetensors").read_bytes() == before


def test_network_of_the_users_own_code_is_imported_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards ``--backbone module:function``: what the user names may run."""
    (tmp_path / "own_network.py").write_text(
        "from massrl.models.backbones import build_backbone\n"
        "def net():\n    return build_backbone('resnet10-tiny', stem='small', image_side=32)\n"
    )
    monkeypatch.chdir(tmp_path)
    state = load_backbone(trained(tmp_path, "resnet10-tiny", "small")).state_dict()
    torch.save(state, tmp_path / "x.pth")
    file, lines = import_backbone(
        {"checkpoint": "x.pth", "model": {"backbone": "own_network:net", "size": 32}}
    )
    assert "own_network:net" in lines[0]
    assert load_backbone(file, trust=True).about["backbone"] == "own_network:net"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"stem": "auto"},
            "--model.stem is 'auto': known: small, small-no-relu, small-pad2, standard",
        ),
        ({"size": 0}, "--model.size is 0, but 1 or more is wanted"),
        ({"std": (0.2, 0.0, 0.2)}, "--model.std is 0, but 1e-06 or more is wanted"),
    ],
)
def test_option_out_of_range_is_refused(wrong: dict[str, object], message: str) -> None:
    """Guards a division by zero in every later use of the file."""
    with pytest.raises(ConfigError) as caught:
        make(ImportConfig, {"model": wrong})
    assert str(caught.value) == message


def test_command_prints_the_account_and_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards the account, and the path as the last line for scripts."""
    state = load_backbone(trained(tmp_path, "resnet10-tiny", "small")).state_dict()
    torch.save({"model": state}, tmp_path / "x.pth")
    assert main(["import", str(tmp_path / "x.pth"), *STEM, "--model.size", "48"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("imported  model: resnet10-tiny, small stem")
    assert any(line.startswith("images    48 px") for line in lines)
    assert lines[-1] == str(tmp_path / "x.safetensors")
