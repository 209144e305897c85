"""Building objectives from the table, those of other packages among them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import Plugin

from massrl.config.sections import MethodConfig, ModelConfig, ProjectorConfig
from massrl.errors import ConfigError
from massrl.methods.build import build_method
from massrl.runs.metrics import read_metrics
from massrl.views.layouts import ViewSpec

ALIGNMENT = '''
import torch
from massrl.methods.base import Method, MethodOutput


class Alignment(Method):
    """Distance of an image's views, plus a term that keeps images apart."""

    def __init__(self, backbone, projector, settings, weight):
        super().__init__(backbone, settings)
        self.projector, self.weight = projector, weight

    @classmethod
    def build(cls, parts, weight: float = 1.0):
        return cls(parts.backbone, parts.projector(), parts.settings, weight)

    @classmethod
    def describe(cls, method, model):
        return "Alignment and spread"

    def forward(self, views):
        def embed(view):
            h = self.backbone(view)
            return h, torch.nn.functional.normalize(self.projector(h), dim=-1)

        h, z = self.per_view(embed, views)
        matrix = (z[:, None] - z[None]).square().sum(-1).mean(-1)
        spread = torch.pdist(z.flatten(0, 1)).square().mul(-2).exp().mean().log()
        loss = matrix[self.mask].mean() + self.weight * spread
        return MethodOutput(
            loss, matrix.detach(), h.detach().flatten(0, 1), z.detach().flatten(0, 1)
        )
'''
FLAGS = (
    *("--data.train", "shapes(count=32,size=16)", "--data.batch_size", "8", "--data.workers", "0"),
    *(
        "--model.backbone",
        "resnet10-tiny",
        "--model.projector.hidden",
        "16",
        "--train.max_steps",
        "4",
    ),
    *("--model.projector.out", "8", "--train.accelerator", "cpu", "--train.probe_every", "0"),
)


def small(name: str) -> None:
    build_method(
        MethodConfig(name=name),
        ModelConfig(backbone="resnet10-tiny", projector=ProjectorConfig(hidden=16, out=8)),
        views=[ViewSpec("a", 0), ViewSpec("b", 1)],
        image_side=16,
        seed=0,
    )


def test_objective_of_another_package_trains_from_the_command_line(
    plugin: Plugin, tmp_path: Path
) -> None:
    """Guards the promise that an objective is one file and a row, its settings in call notation."""
    plugin(ALIGNMENT, {"massrl.objectives": {"alignment": "my_plugin:Alignment"}})
    command = [sys.executable, "-m", "massrl", "pretrain", *FLAGS, "--out", str(tmp_path / "run")]
    for name in ("alignment", "alignment(weight=3.0)"):
        out = tmp_path / name[9:13]
        done = subprocess.run(
            [*command[:-1], str(out), "--method.name", name], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "Alignment and spread" in (out / "log.txt").read_text(encoding="utf-8")
        assert (out / "backbone.safetensors").is_file()
    first, second = (
        [float(row["loss"]) for row in read_metrics(tmp_path / name / "metrics.csv")]
        for name in ("", "(wei")
    )
    assert len(first) == len(second) == 4
    assert first != second


def test_objective_with_an_argument_it_does_not_have_is_refused(plugin: Plugin) -> None:
    """Guards a setting that would be parsed and ignored."""
    plugin(ALIGNMENT, {"massrl.objectives": {"alignment": "my_plugin:Alignment"}})
    with pytest.raises(
        ConfigError, match=r"no argument 'wieght'.*did you mean 'weight'.*--method.name"
    ):
        small("alignment(wieght=2.0)")
    small("alignment(weight=2.0)")


def test_objective_that_is_not_registered_is_refused_with_the_nearest() -> None:
    """Guards a typing slip against a traceback."""
    with pytest.raises(ConfigError, match="did you mean 'simclr'"):
        small("simcrl")
