"""How many steps a time budget becomes, on a clock that the test moves."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.train.callbacks.test_time_limit import Hands
from tests.train.conftest import PLAIN_MODEL, assert_identical, quiet, resolved, run

from massrl.commands.pretrain import resume
from massrl.config.files import load_config, read_layers
from massrl.config.parser import make_config
from massrl.config.pretrain import Config
from massrl.data.build import training_source
from massrl.distributed import World
from massrl.evaluation.online_knn import make_probe
from massrl.runs.folder import RunFolder
from massrl.runs.metrics import read_metrics
from massrl.train.budget import fitting_steps, length_warnings, plan_steps
from massrl.train.callbacks.signals import TIME_BUDGET
from massrl.train.callbacks.time_limit import TimeBudget, TimeLimit
from massrl.train.initialize import make_method
from massrl.train.session import make_run_views
from massrl.train.step import OUT_OF_TIME


def simulated(steps: int, *, seconds: float, probe: float, every: int) -> float:
    """Return the seconds of a run, counted step by step; the last step is probed, too."""
    used = 0.0
    for number in range(1, steps + 1):
        used += seconds
        if every and (number % every == 0 or number == steps):
            used += probe
    return used


@pytest.mark.parametrize("left", [0.1, 3.0, 7.7, 100.0])
@pytest.mark.parametrize("every", [0, 1, 3, 50])
@pytest.mark.parametrize("probe", [0.0, 0.4, 5.0])
def test_most_steps_that_fit_are_planned(left: float, every: int, probe: float) -> None:
    """Guards the plan against a run that is counted step by step: one more would not fit, these do."""
    cost: dict[str, Any] = {"seconds": 0.3, "probe": probe if every else 0.0, "every": every}
    steps = fitting_steps(left - cost["probe"] + 1e-9, **cost)
    assert steps == 1 or simulated(steps, **cost) <= left + 1e-6
    assert simulated(steps + 1, **cost) > left - (probe if every else 0.0)


def planned(
    monkeypatch: pytest.MonkeyPatch, *, used: float = 10.05, knn: float = 0.0, **train: Any
) -> tuple[Config, TimeBudget]:
    """Plan a run on a clock on which a step takes 0.3 s, and opening the loader 5 s."""
    train = {"max_steps": None, "time_budget": 100.0, "probe_every": 2, **train}
    config = resolved(model=PLAIN_MODEL, train=train)
    source, maker = training_source(config.data), make_run_views(config)
    method = make_method(config, maker.layout)
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    hands = Hands(50.0)

    def three_steps(step: Any, batches: Any, *, at_most: float) -> list[float]:
        assert at_most == pytest.approx(0.08 * config.train.time_budget or 0)
        step(iter(batches))
        hands.now += 5.0 + 0.9
        return [0.2, 0.3, 0.4]

    def estimate(self: Any, backbone: Any) -> float:
        hands.now += knn / 10
        return knn

    monkeypatch.setattr("massrl.train.budget.time_steps", three_steps)
    monkeypatch.setattr("massrl.evaluation.online_knn.OnlineKnn.estimate_seconds", estimate)
    budget = TimeBudget(seconds=config.train.time_budget or 0, begin=50.0, clock=hands)
    hands.now += used
    result = plan_steps(
        config,
        method,
        source,
        maker,
        world=World(),
        budget=budget,
        measure=make_probe(config, source, World()),
    )
    assert_identical(before, method.state_dict())
    return result


def test_budget_becomes_the_steps_that_fit_after_planning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards ``--train.time_budget``, of which planning and probes are parts.

    100 s less 10.05 until here, 5.9 for the estimate, and 5 to spare: 79.05 s of steps of 0.3 s.
    """
    with caplog.at_level(logging.INFO, logger="massrl"):
        config, budget = planned(monkeypatch)
    assert (config.train.max_steps, config.train.time_budget) == (263, None)
    assert budget.closing == 0
    assert "--train.max_steps 263: 3 steps took 0.300 s each" in caplog.text
    # With probes of 2 s every ten steps: 79.05 - 0.2 - 2 = 76.85 s; 15 times 5 s, and 1.85 s are 6 steps.
    config, budget = planned(monkeypatch, knn=2.0)
    assert config.train.max_steps == 156
    assert budget.closing == 2.0


def test_budget_beside_steps_is_the_first_that_is_reached(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards two lengths in one command, of which one was ignored in silence; epochs are steps by then."""
    with caplog.at_level(logging.INFO, logger="massrl"):
        assert planned(monkeypatch, max_steps=100)[0].train.max_steps == 100
        assert planned(monkeypatch, max_steps=1000)[0].train.max_steps == 263
        assert planned(monkeypatch, epochs=4.0)[0].train.max_steps == 20  # of 5 steps
    assert "the first of it and 1,000 steps ends the run" in caplog.text


def test_budget_that_is_gone_before_the_first_step_is_one_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guards a budget shorter than the opening of the images: a run has a step, and no negative number."""
    assert planned(monkeypatch, used=200.0)[0].train.max_steps == 1
    assert planned(monkeypatch, used=200.0, knn=3.0)[0].train.max_steps == 1


def test_short_run_is_named_before_it_starts() -> None:
    """Guards runs of less than an epoch or a warm-up, however they were asked for."""
    assert length_warnings(resolved(train={"max_steps": 10}), 40) == []
    short = length_warnings(resolved(train={"max_steps": 2}), 40)
    assert short[0].startswith("2 steps, but an epoch has 5, so 60% of the images are never seen")
    assert short[1].startswith("2 steps, but the warm-up alone has 5 (--optim.warmup_epochs 1)")
    (warmup,) = length_warnings(resolved(train={"max_steps": 20}, optim={"warmup_epochs": 4}), 40)
    assert "20 steps, but the warm-up alone has 20" in warmup
    assert "shortened to 2" in warmup


def test_steps_of_a_time_budget_are_saved(tmp_path: Path) -> None:
    """Guards a run by time: its configuration repeats it, on any machine."""
    train = {"time_budget": 1.0, "max_steps": None}
    result = run(tmp_path / "run", model=PLAIN_MODEL, train=train)
    saved = load_config(result.folder / "config.yaml").train
    assert saved.max_steps is not None
    assert (saved.time_budget, saved.epochs) == (None, None)
    assert "of its time budget of 1 s" in RunFolder(result.folder).log.read_text()


@pytest.fixture
def _out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is planned for ten steps and has no time left after the third."""
    monkeypatch.setattr("massrl.train.budget.fitting_steps", lambda *_, **__: 10)

    def ask(self: Any, step: Any) -> None:
        step.stop_requested = OUT_OF_TIME if step.step == 3 else step.stop_requested

    monkeypatch.setattr(TimeLimit, "after_step", ask)


@pytest.mark.usefixtures("_out_of_time")
@pytest.mark.parametrize("devices", [1, 2])
def test_run_that_is_out_of_time_is_saved_and_not_called_complete(
    tmp_path: Path, devices: int
) -> None:
    """Guards "complete" of a run that is not, in one and in several processes; the rest can be made."""
    train = {"time_budget": 100.0, "max_steps": None, "devices": devices}
    stopped = run(tmp_path / "run", model=PLAIN_MODEL, train=train)
    assert (stopped.session.step, stopped.session.stopped_by) == (4, TIME_BUDGET)
    page = (stopped.folder / "report.html").read_text(encoding="utf-8")
    assert "4 of 10 steps are done." in page
    assert "complete" not in page
    completed = resume(stopped.folder, console=quiet()).session  # without a limit of its own
    assert (completed.step, completed.stopped_by) == (10, None)
    assert len(read_metrics(RunFolder(stopped.folder).metrics)) == 10


def test_saved_configuration_with_several_lengths_repeats_its_steps(tmp_path: Path) -> None:
    """Guards files of earlier versions, which hold all three; a user's own file may mean all of them."""
    content = make_config({"out": str(tmp_path), "train": {"max_steps": 900}}).to_dict()
    content["train"] |= {"epochs": 1.0, "time_budget": 600.0}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    train = make_config(read_layers(path)).train
    assert (train.max_steps, train.epochs, train.time_budget) == (900, None, None)
    own = tmp_path / "own.yaml"
    own.write_text("train: {max_steps: 900, time_budget: 600}", encoding="utf-8")
    train = make_config(read_layers(own)).train
    assert (train.max_steps, train.epochs, train.time_budget) == (900, None, 600)
