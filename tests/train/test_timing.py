"""The cost of a step by stage, and its operations."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.train.conftest import PLAIN_MODEL, tiny
from torch import nn

from massrl.commands.bench import measure_step
from massrl.config.parser import make_config
from massrl.data.loader import ViewDataset
from massrl.errors import ConfigError
from massrl.methods.byol import BYOL
from massrl.train.timing import (
    STAGES,
    StepCost,
    Stopwatch,
    _peak_flops,
    time_steps,
)

DELAY = 0.03  # seconds


class FakeTime:
    """Advances by a microsecond at each reading, and wherever a test lets it."""

    now = 0.0

    def perf_counter(self) -> float:
        """Return the seconds."""
        self.now += 1e-6
        return self.now


@pytest.fixture(autouse=True)
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    """The clock of the measurements; the machine's peak is measured on small matrices."""
    fake = FakeTime()
    monkeypatch.setattr("massrl.train.timing.time", fake)
    monkeypatch.setattr("massrl.train.timing._PEAK_SIDE", 32)
    return fake


def cost(tmp_path: Path, **sections: dict[str, Any]) -> StepCost:
    train = {"max_steps": 3, **sections.pop("train", {})}
    return measure_step(make_config(tiny(tmp_path / "run", **sections, train=train)))


def delayed(original: Any, time: FakeTime) -> Any:
    """The same function, 30 milliseconds slower."""

    def slow(*arguments: Any, **named: Any) -> Any:
        time.now += DELAY
        return original(*arguments, **named)

    return slow


def test_nested_stages_are_exclusive(time: FakeTime) -> None:
    """Guards the sum of all stages, which must not exceed the step."""
    watch = Stopwatch(torch.device("cpu"))
    for _ in range(2):
        with watch.stage("forward"):
            time.now += 1.0
            with watch.stage("target"):
                time.now += 10.0
                with watch.stage("data"):
                    time.now += 100.0
            with watch.stage("target"):
                time.now += 20.0
            time.now += 2.0
        with watch.stage("optimiser"):
            time.now += 5.0
    expected = {"forward": 6.0, "target": 60.0, "data": 200.0, "optimiser": 10.0}
    assert watch.seconds == pytest.approx(expected, abs=1e-3)


def test_forward_passes_of_a_network_have_a_stage_of_their_own(time: FakeTime) -> None:
    """Guards the target's share, whose passes run within ``forward``."""

    class Slow(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            time.now += 3.0
            return x

    watch, network = Stopwatch(torch.device("cpu")), Slow()
    watch.count_forward("target", network)
    with watch.stage("forward"):
        time.now += 1.0
        network(network(torch.zeros(1)))
    assert watch.seconds == pytest.approx({"forward": 1.0, "target": 6.0}, abs=1e-3)


@pytest.mark.parametrize(
    ("stage", "owner", "name", "times"),
    [
        ("data", ViewDataset, "__getitems__", 1),
        ("optimiser", torch.optim.SGD, "step", 1),
        ("target", BYOL, "update_target", 1),
        ("backward", torch.Tensor, "backward", 4),
    ],
)
def test_delay_appears_in_its_own_stage(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    time: FakeTime,
    stage: str,
    owner: Any,
    name: str,
    times: int,
) -> None:
    """Guards the table: 30 milliseconds more in one stage, and in no other."""
    monkeypatch.setattr(owner, name, delayed(getattr(owner, name), time))
    slow = cost(tmp_path, model=PLAIN_MODEL, optim={"name": "sgd", "lr": 0.1})
    assert list(slow.stages) == list(STAGES)
    assert slow.stages.pop(stage) == pytest.approx(1000 * DELAY * times, rel=0.01)
    assert max(slow.stages.values()) < 1  # reading the clock takes microseconds
    assert slow.step == pytest.approx(1000 * DELAY * times, rel=0.01)


def test_target_and_online_network_are_timed_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, time: FakeTime
) -> None:
    """Guards "forward" against the target's share: each has one slow pass per view."""

    class Slow(nn.Flatten):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            time.now += DELAY
            return super().forward(x)

    monkeypatch.setattr(nn, "Flatten", Slow)  # the first layer of ``plain_network``
    stages = cost(tmp_path, model=PLAIN_MODEL).stages
    for stage in ("forward", "target"):
        assert stages[stage] == pytest.approx(4000 * DELAY, rel=0.01)


def test_operations_are_counted_by_views_networks_and_directions(tmp_path: Path) -> None:
    """Guards the count: it doubles with the views; a target adds a forward to a forward and a backward."""
    shared: dict[str, Any] = {"model": {"predictor": {"layers": 0}}}
    train = {"max_steps": 1}
    four = cost(tmp_path, **shared, train=train, views={"layout": "massrl-4"})
    eight = cost(tmp_path, **shared, train=train, views={"layout": "massrl"})
    assert eight.num_views == 2 * four.num_views == 8
    assert eight.flops == pytest.approx(2 * four.flops, rel=1e-3)
    alone = cost(tmp_path, **shared, train=train, method={"name": "simclr"})
    assert four.flops == pytest.approx(4 / 3 * alone.flops, rel=0.03)
    halves = cost(tmp_path, **shared, train={**train, "accumulate": 2})
    assert halves.flops == pytest.approx(four.flops, rel=1e-3)


def test_rates_and_fractions_follow_from_the_measured_numbers() -> None:
    """Guards rates and fractions with numbers that can be checked by head."""
    stages = {"data": 20.0, "target": 10.0, "forward": 20.0, "backward": 40.0, "optimiser": 5.0}
    made = StepCost(
        num_views=4, batch_size=50, stages=stages, step=100.0, memory=1 << 20, flops=800, peak=1e5
    )
    assert made.images_per_second == 500
    assert made.share_of_peak == pytest.approx(0.1)  # 800 in 80 ms are 10,000 a second
    text = "\n".join(made.lines())
    assert "500 images/s, 2,000 views/s" in text
    assert "between them      5.0      5%" in text


def test_peak_is_that_of_the_fastest_product(
    monkeypatch: pytest.MonkeyPatch, time: FakeTime
) -> None:
    """Guards the denominator of the share: two operations for each multiplication."""
    delays = iter([5.0, 3.0, 0.5, 4.0, 4.0, 4.0])
    original = torch.Tensor.__matmul__

    def slow(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        time.now += next(delays)
        return original(one, other)

    monkeypatch.setattr(torch.Tensor, "__matmul__", slow)
    peak = _peak_flops(torch.device("cpu"), torch.float32)
    assert peak == pytest.approx(2 * 32**3 / 0.5, rel=1e-3)


def test_configuration_that_is_not_one_step_on_one_device_is_refused() -> None:
    """Guards ``massrl bench step`` against a traceback; without images the message is ``pretrain``'s."""
    with pytest.raises(ConfigError, match="no training images"):
        measure_step({})
    with pytest.raises(ConfigError, match="a step is measured on one device"):
        measure_step({"data": {"train": "shapes"}, "train": {"devices": 2}})


def test_estimate_makes_three_steps_at_least_and_stops_at_its_share(time: FakeTime) -> None:
    """Guards a short budget, which the estimate alone could use up, and slow first steps."""
    seconds = iter([50.0, 40.0, *[2.0] * 20])

    class Step:
        method = SimpleNamespace(mask=torch.ones(2, 2))

        def __call__(self, batches: Iterator[Any]) -> None:
            next(batches)
            time.now += next(seconds)

    step: Any = Step()
    endless: Any = itertools.count()
    assert time_steps(step, endless, at_most=1.0) == pytest.approx([2.0] * 3, abs=1e-3)
    seconds = iter([1.0] * 20)
    assert len(time_steps(step, endless, at_most=8.5)) == 9


def test_memory_is_unknown_where_the_system_does_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards systems without Unix's ``resource`` module, such as Windows."""
    known = cost(tmp_path)
    assert known.memory is not None
    assert known.memory > 2**20
    monkeypatch.setitem(sys.modules, "resource", None)
    unknown = cost(tmp_path)
    assert unknown.memory is None
    assert "peak memory      unknown" in unknown.lines()


def test_share_of_no_stage_is_below_zero() -> None:
    """Guards stages whose medians, of different steps, are together more than the whole."""
    stages = dict.fromkeys(STAGES, 10.0)
    made = StepCost(
        num_views=2, batch_size=8, stages=stages, step=49.0, memory=1, flops=1, peak=1.0
    )
    assert not [line for line in made.lines() if "-" in line]
