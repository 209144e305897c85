"""Building objectives by name, including those of other packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.conftest import Plugin
from tests.methods.conftest import noise_views, small_method

from massrl.cli import main
from massrl.errors import ConfigError
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
    "--data.train=shapes(count=32,size=16)",
    "--data.batch_size=8",
    "--data.workers=0",
    "--model.backbone=resnet10-tiny",
    "--model.projector.hidden=16",
    "--model.projector.out=8",
    "--train.max_steps=4",
    "--train.accelerator=cpu",
    "--train.probe_every=0",
)


def test_objective_of_another_package_trains_from_the_command_line(
    plugin: Plugin, tmp_path: Path
) -> None:
    """Guards the public way: an objective is a class and an entry point, with settings of its own."""
    plugin(ALIGNMENT, {"massrl.objectives": {"alignment": "my_plugin:Alignment"}})
    usual, weighted = tmp_path / "usual", tmp_path / "weighted"
    command = ["pretrain", *FLAGS, f"--out={usual}", "--method.name=alignment"]
    done = subprocess.run(
        [sys.executable, "-m", "massrl", *command], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    weight = "--method.name=alignment(weight=3.0)"
    assert main(["pretrain", *FLAGS, f"--out={weighted}", weight]) == 0
    losses = []
    for folder in (usual, weighted):
        assert "Alignment and spread" in (folder / "log.txt").read_text(encoding="utf-8")
        assert (folder / "backbone.safetensors").is_file()
        rows = read_metrics(folder / "metrics.csv")
        losses.append([float(row["loss"]) for row in rows])
    assert len(losses[0]) == len(losses[1]) == 4
    assert losses[0] != losses[1]


def test_unknown_argument_of_an_objective_is_refused(plugin: Plugin) -> None:
    """Guards a setting that would be parsed and ignored."""
    plugin(ALIGNMENT, {"massrl.objectives": {"alignment": "my_plugin:Alignment"}})
    with pytest.raises(
        ConfigError, match=r"no argument 'wieght'.*did you mean 'weight'.*--method.name"
    ):
        small_method("alignment(wieght=2.0)")
    small_method("alignment(weight=2.0)")


def test_unknown_objective_is_refused_with_a_suggestion() -> None:
    """Guards a typing slip against a traceback."""
    with pytest.raises(ConfigError, match="did you mean 'simclr'"):
        small_method("simcrl")


@pytest.mark.parametrize("objective", ["byol", "simclr"])
def test_equal_seeds_give_equal_weights_and_leave_the_global_generator_alone(
    objective: str,
) -> None:
    """Guards §3's randomness: building a network must not change other random numbers."""
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first, second, other = (small_method(objective, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(before, torch.get_rng_state())
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])
    assert not torch.equal(first.projector[0].weight, other.projector[0].weight)  # type: ignore[index,union-attr,operator]


def test_networks_are_channels_last_like_the_views() -> None:
    """Guards a third of the throughput."""
    weight = small_method("byol").backbone.layer1[0].conv1.weight  # type: ignore[union-attr, index]
    assert weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[union-attr, operator]


def test_every_setting_reaches_the_objective() -> None:
    """Guards against options that are parsed and ignored."""
    views = [ViewSpec(name, 0) for name in "abc"]
    x = noise_views(num_views=3)

    def loss(**settings: object) -> float:
        return float(small_method("simclr", views, **settings)(x).loss.detach())  # type: ignore[arg-type]

    usual = loss()
    assert loss(reduction="sum") == pytest.approx(usual * 3)  # N (N - 1) / 2 times the mean
    assert loss(temperature=0.9) != pytest.approx(usual, rel=1e-3)
    assert loss(batch_norm="joint") != pytest.approx(usual, rel=1e-3)
    assert loss(pairs="cross-policy") == pytest.approx(usual)  # all pairs are across policies here
    assert small_method("simclr", views, memory="streamed").settings.memory == "streamed"
    pairs = small_method("simclr", [*views, views[0]], pairs="paired").mask
    assert pairs.nonzero().tolist() == [[0, 1], [1, 0], [2, 3], [3, 2]]
