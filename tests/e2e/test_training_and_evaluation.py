"""Runs and what is evaluated of them: labels, broken images, normalisation, incomplete runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.conftest import folder_with_a_broken_image, quiet, run, signal_at

from massrl.commands.evaluate import evaluate
from massrl.commands.pretrain import pretrain
from massrl.config.files import read_layers
from massrl.config.parser import make_config
from massrl.data.source import Normalization
from massrl.errors import ConfigError, ImageError
from massrl.evaluation import context, online_knn
from massrl.runs.metrics import read_metrics
from massrl.train.step import TrainingStep
from massrl.weights.load import load_backbone

KNN: dict[str, Any] = {"task": ["knn"], "k": 3}


def test_shapes_recipe_learns_outlines_in_a_few_steps(tmp_path: Path) -> None:
    """Guards the whole: views, objective, optimiser and schedule that teach nothing together."""
    settings: dict[str, Any] = {
        "out": str(tmp_path / "run"),
        "data": {"train": "shapes(count=1500)", "workers": 0},
        "train": {"max_steps": 200, "probe_every": 0, "accelerator": "cpu"},
    }
    result = pretrain(make_config(read_layers("shapes-massrl"), settings), console=quiet())
    linear = {}
    for random_init in (True, False):
        wanted = {"task": ["linear"], "random_init": random_init}
        wanted["data"] = {"val": "shapes(count=500)"}
        tasks = evaluate(result.folder, wanted, console=quiet())["tasks"]
        linear[random_init] = tasks["linear"]["acc1"]
    assert linear[False] > linear[True] + 10  # percent


def test_broken_image_stops_the_run_with_its_name(tmp_path: Path) -> None:
    """Guards ``--data.on_error stop``: one clear line that names the file."""
    photos = folder_with_a_broken_image(tmp_path / "photos")
    data = {"train": str(photos), "batch_size": 5}
    with pytest.raises(ImageError, match=r"broken\.png.*--data\.on_error skip"):
        run(tmp_path / "run", data=data, train={"max_steps": 2})


def test_broken_image_is_skipped_in_training_probes_and_evaluation(tmp_path: Path) -> None:
    """Guards ``skip`` beyond the step: the first k-NN probe must not end the run."""
    for label in ("a", "b"):
        folder_with_a_broken_image(tmp_path / "photos" / label)
    data = {"train": str(tmp_path / "photos"), "batch_size": 10, "on_error": "skip", "workers": 1}
    result = run(tmp_path / "run", data=data, train={"max_steps": 2, "probe_every": 1})
    assert [Path(name).name for name in result.session.skipped] == ["broken.png"] * 2
    assert "broken.png" in (result.folder / "log.txt").read_text(encoding="utf-8")
    probed = [row["knn"] != "" for row in read_metrics(result.folder / "metrics.csv")]
    assert probed == [False, True]
    with pytest.raises(ImageError):
        evaluate(result.folder, KNN, console=quiet())
    wanted = {**KNN, "data": {"on_error": "skip"}}
    assert evaluate(result.folder, wanted, console=quiet())["tasks"]["knn"]["data"]["left_out"] == 2


def test_configured_normalisation_is_used_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards ``--data.mean`` and ``--data.std``: in training, at the probe and in evaluation."""
    wanted = Normalization(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    extracted: list[Normalization] = []
    original = online_knn.extract_features

    def record(*arguments: Any, **settings: Any) -> Any:
        extracted.append(arguments[1].normalization)
        return original(*arguments, **settings)

    for module in (online_knn, context):
        monkeypatch.setattr(module, "extract_features", record)
    trained: list[torch.Tensor] = []
    step = TrainingStep.__call__

    def recorded(self: TrainingStep, *arguments: Any) -> None:
        trained[:] = [self._mean / 255, self._std / 255]
        step(self, *arguments)

    monkeypatch.setattr(TrainingStep, "__call__", recorded)
    data = {"mean": wanted.mean, "std": wanted.std}
    folder = run(tmp_path / "run", data=data, train={"probe_every": 1, "max_steps": 5}).folder
    assert [item.tolist() for item in trained] == [
        pytest.approx(wanted.mean),
        pytest.approx(wanted.std),
    ]
    num_probes = len(extracted)
    evaluate(folder, KNN, console=quiet())
    assert num_probes >= 1
    assert len(extracted) > num_probes
    assert set(extracted) == {wanted}


def test_stopped_run_is_evaluated_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards against metrics of a few steps that pass for those of a whole run."""
    signal_at(monkeypatch, 2)
    folder = run(tmp_path / "run").folder
    results = evaluate(folder, KNN, console=quiet())
    assert results["backbone"]["step"] == 3
    assert "weights after step 3 of 10 are evaluated" in caplog.text


def test_loaded_backbone_has_the_features_and_metrics_of_its_run(tmp_path: Path) -> None:
    """Guards ``massrl.evaluate(massrl.load_backbone(run))``, and weights of another network."""
    folder = run(tmp_path / "run", train={"max_steps": 2}).folder
    wanted = {**KNN, "data": {"train": "shapes(count=40,size=16)"}}
    direct = evaluate(folder, wanted, console=quiet())
    backbone = load_backbone(folder)
    loaded = evaluate(backbone, wanted, console=quiet())
    assert loaded["tasks"]["knn"]["acc1"] == direct["tasks"]["knn"]["acc1"]
    saved = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["method"]
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, saved[f"backbone.{name}"])
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert backbone(images).shape == (2, 256)
    assert not torch.allclose(backbone(images), load_backbone(folder, random_init=True)(images))
    with pytest.raises(ConfigError, match="load_backbone"):
        evaluate(torch.nn.Identity(), wanted, console=quiet())
