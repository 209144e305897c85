"""``massrl export``: names and places of the file, its check, and the card beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console
from tests.train.conftest import run
from tests.weights.conftest import trained

import massrl
from massrl.cli import main
from massrl.commands.export import ExportConfig, export_backbone
from massrl.errors import CheckpointError, ConfigError
from massrl.registry import FORMATS
from massrl.weights import load
from massrl.weights.load import load_backbone


def test_file_and_card_are_written_beside_the_backbone_or_where_out_says(tmp_path: Path) -> None:
    """Guards ``--out``, and the place and the name of both files."""
    path = trained(tmp_path, "resnet10-tiny", "small")
    file, card = export_backbone({"backbone": str(path)})
    assert file == tmp_path / "backbone-safetensors.safetensors"
    assert card == tmp_path / "backbone-safetensors.md"
    out = tmp_path / "a" / "x.safetensors"
    assert export_backbone(ExportConfig(backbone=str(path), out=str(out))) == (
        out,
        tmp_path / "a" / "x.md",
    )
    assert load_backbone(out).about["backbone"] == "resnet10-tiny"


def test_card_of_a_file_called_readme_leaves_the_readme_alone(tmp_path: Path) -> None:
    """Guards a folder's own README.md."""
    path = trained(tmp_path, "resnet10-tiny", "small")
    out = tmp_path / "README.safetensors"
    assert export_backbone({"backbone": str(path), "out": str(out)})[1].name == "README-card.md"


def test_backbone_of_a_library_is_written_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards ``massrl export timm:NAME``, which has no folder to write into."""
    monkeypatch.chdir(tmp_path)
    real = load.load_library_backbone
    monkeypatch.setattr(
        load, "load_library_backbone", lambda name, **_: real(name, random_init=True)
    )
    file, card = export_backbone({"backbone": "timm:resnet18.a1_in1k", "format": "timm"})
    assert file == Path("timm-resnet18.a1_in1k-timm.safetensors")
    assert "Its weights are from `timm:resnet18.a1_in1k`, unchanged." in card.read_text()


def test_name_that_does_not_fit_the_format_is_refused(tmp_path: Path) -> None:
    """Guards an export whose name says another format."""
    path = trained(tmp_path, "resnet10-tiny", "small")
    with pytest.raises(ConfigError, match=r"ends in \.safetensors"):
        export_backbone({"backbone": str(path), "out": str(tmp_path / "x.pth")})
    assert [item.name for item in tmp_path.iterdir()] == ["backbone.safetensors"]


def test_format_is_one_of_the_table(tmp_path: Path) -> None:
    """Guards the check of the option against a list of names beside the table."""
    assert [ExportConfig(format=name).format for name in FORMATS] == list(FORMATS)
    with pytest.raises(ConfigError, match="--format is 'onxx': did you mean 'onnx'"):
        ExportConfig(format="onxx")


def test_card_has_the_metrics_of_these_weights_alone(tmp_path: Path) -> None:
    """Guards a card against the metrics of weights that are no longer there."""
    data = {"train": "shapes(count=60)", "val": "shapes(count=40)"}
    path = trained(tmp_path, "resnet10-tiny", "small")
    massrl.evaluate(path, {"task": ["knn"], "data": data}, console=Console(quiet=True))
    results = tmp_path / "backbone-results" / "results.json"
    accuracy = json.loads(results.read_text(encoding="utf-8"))["tasks"]["knn"]["acc1"]
    text = export_backbone({"backbone": str(path)})[1].read_text(encoding="utf-8")
    assert f"| k-NN | Acc@1 | {accuracy:.2f} |" in text
    trained(tmp_path, "resnet10-tiny", "small", seed=9)
    assert "Not evaluated" in export_backbone({"backbone": str(path)})[1].read_text()


def test_command_prints_the_file_and_the_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards scripts that read the path from the output."""
    path = trained(tmp_path, "resnet10-tiny", "small")
    assert main(["export", str(path), "--format", "safetensors"]) == 0
    assert capsys.readouterr().out.split() == [
        str(tmp_path / "backbone-safetensors.safetensors"),
        str(tmp_path / "backbone-safetensors.md"),
    ]
    assert main(["export"]) == 2
    assert "is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("config.yaml", "{}", "config.yaml is damaged: it has not every value of a run"),
        ("data.json", "{}", "data.json is damaged: name, num_images, fingerprint are wanted"),
        ("results.json", "null", "damaged results.json: massrl evaluate writes it anew"),
        ("results.json", '{"backbone": 3}', "damaged results.json"),
    ],
)
def test_damaged_file_of_a_run_is_named_before_anything_is_written(
    completed: Path, name: str, content: str, told: str
) -> None:
    """Guards "unexpected TypeError" after the weights were written, and a card that is not."""
    (completed / name).write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=told):
        export_backbone({"backbone": str(completed)})
    assert not list(completed.glob("backbone-safetensors.*"))


@pytest.fixture
def completed(tmp_path: Path) -> Path:
    """A complete run of one step."""
    return run(tmp_path / "run", train={"max_steps": 1}).folder
