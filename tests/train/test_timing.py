"""What a step costs: each second in its own stage, each operation counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.conftest import run, tiny
from tests.train.test_resume import weights
from torch import nn

from massrl.commands.bench import measure_step
from massrl.config.parser import make_config
from massrl.data.loader import ViewDataset
from massrl.errors import ConfigError
from massrl.methods.byol import BYOL
from massrl.models import backbones
from massrl.runs.metrics import read_metrics
from massrl.train.timing import STAGES, StepCost

PAUSE = 0.03


class Clock:
    """Stands still but for a microsecond a look, and for what is said to take time."""

    now = 0.0

    def perf_counter(self) -> float:
        """Seconds."""
        self.now += 1e-6
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("massrl.train.timing.time", made)
    return made


def cost(tmp_path: Path, **sections: dict[str, Any]) -> StepCost:
    train = {"max_steps": 3, **sections.pop("train", {})}
    return measure_step(make_config(tiny(tmp_path / "run", **sections, train=train)))


def paused(original: Any, clock: Clock) -> Any:
    def slow(*arguments: Any, **named: Any) -> Any:
        clock.now += PAUSE
        return original(*arguments, **named)

    return slow


@pytest.mark.parametrize(
    ("stage", "owner", "name", "times"),
    [
        ("data", ViewDataset, "__getitems__", 1),
        ("optimiser", torch.optim.SGD, "step", 1),
        ("target", BYOL, "update_target", 1),
        ("backward", torch.Tensor, "backward", 4),
    ],
)
def test_every_second_lies_in_its_own_stage(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
    stage: str,
    owner: Any,
    name: str,
    times: int,
) -> None:
    """Guards the table: 30 milliseconds more here, and nowhere else."""
    sections: dict[str, Any] = {"optim": {"name": "sgd", "lr": 0.1}}
    usual = cost(tmp_path, **sections)
    monkeypatch.setattr(owner, name, paused(getattr(owner, name), clock))
    slow = cost(tmp_path, **sections)
    more = {key: slow.stages[key] - usual.stages[key] for key in STAGES}
    assert more[stage] == pytest.approx(1000 * PAUSE * times, rel=0.01)
    assert max(more, key=lambda key: more[key]) == stage
    assert sum(slow.stages.values()) == pytest.approx(slow.step, rel=0.1)


def test_passes_of_the_target_are_not_those_of_the_online_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """Guards "forward" against the target's share: each sleeps once a view, by its own network."""
    usual = cost(tmp_path)
    original = backbones.build_backbone

    class Slow(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            clock.now += PAUSE
            return x

    def slow(*arguments: Any, **named: Any) -> Any:
        network = original(*arguments, **named)
        network.conv1 = nn.Sequential(network.conv1, Slow())  # type: ignore[arg-type]
        return network

    monkeypatch.setattr("massrl.models.backbones.build_backbone", slow)
    result = cost(tmp_path)
    for stage in ("forward", "target"):
        assert result.stages[stage] - usual.stages[stage] == pytest.approx(4000 * PAUSE, rel=0.01)


def test_operations_are_counted_by_views_networks_and_directions(tmp_path: Path) -> None:
    """Guards the count: twice the views twice as many; a target's forward beside forward and backward."""
    shared: dict[str, Any] = {"model": {"predictor": {"layers": 0}}}
    four = cost(tmp_path, **shared, views={"layout": "massrl-4"})
    eight = cost(tmp_path, **shared, views={"layout": "massrl"})
    assert eight.num_views == 2 * four.num_views == 8
    assert eight.flops == pytest.approx(2 * four.flops, rel=1e-3)
    alone = cost(tmp_path, **shared, method={"name": "simclr"})
    assert four.flops == pytest.approx(4 / 3 * alone.flops, rel=0.03)
    halves = cost(tmp_path, **shared, train={"accumulate": 2})
    assert halves.flops == pytest.approx(four.flops, rel=1e-3)


def test_figures_follow_from_each_other() -> None:
    """Guards rates and shares by numbers that can be checked by head."""
    stages = {"data": 20.0, "target": 10.0, "forward": 20.0, "backward": 40.0, "optimiser": 5.0}
    made = StepCost(
        num_views=4, batch_size=50, stages=stages, step=100.0, memory=1 << 20, flops=800, peak=1e5
    )
    assert made.images_per_second == 500
    assert made.share_of_peak == pytest.approx(0.1)  # 800 in 80 ms are 10,000 a second
    text = "\n".join(made.lines())
    assert "500 images/s, 2,000 views/s" in text
    assert "between them      5.0      5%" in text


def test_no_images_are_refused() -> None:
    """Guards the message: it is ``pretrain``'s."""
    with pytest.raises(ConfigError, match="no training images"):
        measure_step({})
    with pytest.raises(ConfigError, match="a step is measured on one device"):
        measure_step({"data": {"train": "shapes"}, "train": {"devices": 2}})


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize(
    "sections", [{}, {"method": {"name": "simclr"}, "train": {"memory": "streamed"}}]
)
def test_compiled_networks_learn_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sections: dict[str, dict[str, Any]]
) -> None:
    """Guards ``--train.compile``: it must reach the networks, change nothing, and leave names alone."""
    made: list[type] = []
    original = nn.Module.compile

    def watched(self: nn.Module) -> None:
        made.append(type(self))
        original(self, backend="eager")  # the graph is torch's, its machine code is left out

    monkeypatch.setattr(nn.Module, "compile", watched)
    train = {"max_steps": 3, **sections.get("train", {})}
    one = run(tmp_path / "one", **{**sections, "train": train}).folder
    assert made == []
    two = run(tmp_path / "two", **{**sections, "train": {**train, "compile": True}}).folder
    assert len(made) >= 2
    losses = [[float(row["loss"]) for row in read_metrics(f / "metrics.csv")] for f in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert weights(one).keys() == weights(two).keys()
