"""One optimiser step: accumulation, schedules, target, broken images, finite numbers, several processes."""

from __future__ import annotations

import copy
import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import Precision
from tests.processes import in_two_processes
from tests.reference import losses as reference
from tests.train.conftest import PLAIN_MODEL, assert_identical, make_step
from torch import nn

from massrl.data.loader import ViewBatch
from massrl.data.source import Normalization
from massrl.distributed import World
from massrl.errors import ImageError, MassrlError, NonFiniteError, TrainingError
from massrl.methods.base import MethodOutput
from massrl.methods.byol import BYOL
from massrl.train.step import StepObserver, TrainingStep, gradient_norm


class Scale(nn.Module):
    """The mean of all pixels times a weight; enough of a method to be optimised."""

    has_target = False
    num_views = 4

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        nn.init.constant_(self.layer.weight, weight)
        self.taus: list[float] = []

    def chance(self, num_images: int) -> float:
        """Return the number of images, so that a test can count them."""
        return float(num_images)

    def trainable(self) -> list[nn.Module]:
        """Return the one layer."""
        return [self.layer]

    def forward_backward(self, views: Any, backward: Any) -> MethodOutput:
        """Back-propagate the mean of all views."""
        loss = torch.stack([view.mean() for view in views]).mean() * self.layer.weight.sum()
        backward(loss)
        return MethodOutput(loss.detach(), torch.zeros(4, 4), views[0], views[0])

    def update_target(self, tau: float) -> None:
        """Record τ."""
        self.taus.append(tau)


def scale_step(
    weight: float = 1.0, *, world: World | None = None, **sections: dict[str, Any]
) -> TrainingStep:
    method: Any = Scale(weight)
    sections = {"optim": {"name": "sgd", "lr": 32.0, "momentum": 0.0}, **sections}
    return make_step(method, world=world, **sections)[0]


def batch(*levels: int, failures: list[tuple[str, str]] | None = None) -> ViewBatch:
    """Four views of an image of one grey level for each number."""
    views = torch.tensor(levels, dtype=torch.uint8)[None, :, None, None, None]
    return ViewBatch(views.repeat(4, 1, 16, 16, 3), torch.tensor(levels), failures or [])


SGD = {"name": "sgd", "lr": 1.0}
LARS = {"name": "lars", "lr": 2.0}


@pytest.mark.parametrize("optim", [SGD, LARS], ids=["sgd", "lars"])
def test_accumulated_batches_make_the_update_of_the_whole_batch(optim: dict[str, Any]) -> None:
    """Guards §3: summed gradients, schedules by batch, and a target that is updated k times a step."""
    states, rows = [], []
    for accumulate in (1, 2, 4):
        step, batches = make_step(model=PLAIN_MODEL, optim=optim, train={"accumulate": accumulate})
        numbers = []
        for _ in range(6):
            step(batches)
            numbers.append((step.lr, step.loss, step.gradient_norm))
        states.append(step.method.state_dict())
        rows.append(numbers)
    for state, numbers in zip(states[1:], rows[1:], strict=True):
        assert [row[0] for row in numbers] == [row[0] for row in rows[0]]
        for row, expected in zip(numbers, rows[0], strict=True):
            assert row == pytest.approx(expected, rel=1e-4)
        for name, tensor in states[0].items():
            torch.testing.assert_close(state[name], tensor, rtol=1e-4, atol=1e-6)


def test_learning_rate_follows_the_schedule_of_the_global_batch() -> None:
    """Guards a schedule that is logged and never reaches the optimiser; and ``lr × batch_size / 256``."""
    step, batches = make_step(model=PLAIN_MODEL)
    rates = []
    while not step.is_last:
        step(batches)
        rates.append(step.optimizer.param_groups[0]["lr"])
        assert step.lr == rates[-1]
    peak = 2.0 * 8 / 256
    cosine = [peak * (1 + math.cos(math.pi * number / 9)) / 2 for number in range(9)]
    assert rates == pytest.approx([peak, *cosine], rel=1e-6)  # one step of warm-up


def test_target_is_updated_once_per_optimiser_step_and_right_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guards §3 against the released code: a target that is updated inside an accumulation window."""
    taus: list[float] = []
    original = BYOL.update_target

    def check(self: BYOL, tau: float) -> None:
        before = [parameter.clone() for parameter in self.target_projector.parameters()]
        online = [parameter.detach().clone() for parameter in self.projector.parameters()]
        original(self, tau)
        for b, o, t in zip(before, online, self.target_projector.parameters(), strict=True):
            torch.testing.assert_close(tau * b + (1 - tau) * o, t, rtol=1e-5, atol=1e-6)
        taus.append(tau)

    monkeypatch.setattr(BYOL, "update_target", check)
    step, batches = make_step(model=PLAIN_MODEL, train={"accumulate": 2})
    for number in range(3):
        step(batches)
        assert len(taus) == number + 1
    assert taus == [step.schedule.tau(number) for number in range(3)]


def test_loss_of_eight_views_over_two_epochs_is_that_of_numpy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guards the whole step at batch 2: every loss against NumPy on the same projections."""
    expected: list[float] = []
    original = BYOL.forward_backward

    def forward_backward(self: BYOL, views: Any, backward: Any) -> MethodOutput:
        y = [self.backbone(view) for view in views]
        p = np.stack([self.predictor(self.projector(item)).detach().numpy() for item in y])
        z = np.stack([self.target_projector(self.target_backbone(view)).numpy() for view in views])
        assert p.shape[:2] == (8, 2)
        expected.append(2 * reference.released_massrl(p, z) / 56)
        return original(self, views, backward)

    monkeypatch.setattr(BYOL, "forward_backward", forward_backward)
    data = {"train": "shapes(count=8,size=16)", "batch_size": 2}
    step, batches = make_step(data=data, views={"layout": "massrl"}, train={"max_steps": 8})
    losses = []
    while not step.is_last:
        step(batches)
        losses.append(step.loss)
    assert losses == pytest.approx(expected, abs=2e-5)
    assert len(losses) == 8


def test_gradient_norm_is_that_of_the_whole_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the metric against the gradient of one part of a step, or of none."""
    expected: list[float] = []
    original = torch.optim.SGD.step

    def record(self: torch.optim.SGD, **arguments: Any) -> Any:
        gradients = [item.grad for group in self.param_groups for item in group["params"]]
        expected.append(float(torch.cat([item.flatten() for item in gradients]).double().norm()))
        return original(self, **arguments)

    monkeypatch.setattr(torch.optim.SGD, "step", record)
    step, batches = make_step(optim={"name": "sgd", "lr": 0.1}, train={"accumulate": 2})
    for number in range(3):
        step(batches)
        assert len(expected) == number + 1
        assert step.gradient_norm == pytest.approx(expected[-1], rel=1e-4)


def test_gradient_norm_is_that_of_one_vector() -> None:
    """Guards against a sum of norms, and against parameters without a gradient."""
    network = nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1, bias=False), nn.Linear(2, 2)])
    network[0].weight.grad, network[1].weight.grad = torch.tensor([[3.0]]), torch.tensor([[4.0]])
    assert gradient_norm(network) == pytest.approx(5.0)


def test_settings_of_the_optimiser_reach_it() -> None:
    """Guards flags that are parsed and ignored."""
    settings: dict[str, dict[str, Any]] = {
        "lars": {"momentum": 0.7, "trust_coefficient": 0.03, "clip": True},
        "adamw": {"betas": (0.8, 0.95)},
        "sgd": {"momentum": 0.6},
    }
    for name, values in settings.items():
        step = scale_step(optim={"name": name, "lr": 0.5, "weight_decay": 0.125, **values})
        group = step.optimizer.param_groups[0]
        assert {key: group[key] for key in values} == values
        assert (group["weight_decay"], group["lr"]) == (0.125, step.config.scaled_lr)


def test_views_are_normalised_with_the_configured_statistics() -> None:
    """Guards ``--data.mean`` and ``--data.std``, and §3: every view is normalised."""
    statistics = Normalization(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    step = scale_step(data={"mean": statistics.mean, "std": statistics.std})
    views = torch.randint(0, 256, (4, 2, 16, 16, 3), dtype=torch.uint8)
    ours = torch.stack(list(step.normalize(views))).numpy()
    expected = (views.double().numpy() / 255 - statistics.mean) / statistics.std
    assert np.abs(ours - expected.transpose(0, 1, 4, 2, 3)).max() < 1e-5


def test_observer_sees_every_stage_once_per_part_or_step() -> None:
    """Guards the table of ``massrl bench step``, whose stages these are."""
    stages: list[str] = []

    class Observer(StepObserver):
        @contextmanager
        def stage(self, name: str) -> Iterator[None]:
            stages.append(name)
            yield
            stages.append(f"/{name}")

    step = scale_step(train={"accumulate": 2})
    step.observer = Observer()
    step(iter([batch(1, 2), batch(3, 4)]))
    part = ["data", "/data", "forward", "backward", "/backward", "/forward"]
    assert stages == [*part, *part, "optimiser", "/optimiser", "target", "/target"]


# ---------------------------------------------------------------- broken images, finite numbers


def test_broken_image_stops_the_step_with_its_name() -> None:
    """Guards ``--data.on_error stop``: one line that names the file, before anything is changed."""
    step = scale_step()
    with pytest.raises(ImageError, match=r"b\.png.*empty.*--data.on_error skip"):
        step(iter([batch(1, 2, failures=[("b.png", "empty")])]))
    assert step.method.layer.weight.item() == 1.0  # type: ignore[union-attr, arg-type]


def test_broken_image_is_skipped_and_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    """Guards ``--data.on_error skip``: a warning for each image, not for each epoch."""
    step = scale_step(data={"on_error": "skip"})
    for _ in range(2):
        step(iter([batch(1, 2, failures=[("b.png", "empty"), ("c.png", "text")])]))
    assert step.skipped == {"b.png": "empty", "c.png": "text"}
    assert caplog.text.count("skipped b.png: empty") == 1
    assert step.num_images == 2
    assert step.chance == 2  # of the images that are left
    assert step.state_dict()["skipped"] == step.skipped


def test_loss_of_guessing_is_the_mean_over_accumulated_batches() -> None:
    """Guards the comparison: each part has its own number of images, and so its own loss of guessing."""
    step = scale_step(data={"on_error": "skip"}, train={"accumulate": 2})
    for _ in range(2):  # not added up from step to step
        step(iter([batch(1, 2, failures=[("b.png", "empty")]), batch(1, 2, 3, 4)]))
        assert step.chance == 3


def test_step_with_a_single_image_is_an_error() -> None:
    """Guards batch norm, whose statistics of one image are none."""
    step = scale_step(data={"on_error": "skip"})
    with pytest.raises(TrainingError, match=r"fewer than two images .* step 0.*data.batch_size"):
        step(iter([batch(1, failures=[("b.png", "empty")])]))


def test_non_finite_loss_stops_with_step_and_images() -> None:
    """Guards against hours of NaN; the weights stay as they were."""
    step = scale_step(weight=math.inf)
    step.step = 3
    with pytest.raises(NonFiniteError, match=r"the loss is .*at step 3, on the images .*\[5, 7\]"):
        step(iter([batch(5, 7)]))
    assert step.step == 3


def test_non_finite_gradient_stops_with_the_images_of_all_parts() -> None:
    """Guards the weights against it, and the error against the images of another part."""

    class Infinite(Scale):
        def forward_backward(self, views: Any, backward: Any) -> MethodOutput:
            output = super().forward_backward(views, backward)
            assert self.layer.weight.grad is not None
            self.layer.weight.grad.fill_(math.inf)
            return output

    method: Any = Infinite()
    step, _ = make_step(method, optim=SGD, train={"accumulate": 2})
    with pytest.raises(NonFiniteError, match="the gradient is inf at step 0") as caught:
        step(iter([batch(5, 7), batch(8, 9)]))
    assert caught.value.indices == [5, 7, 8, 9]
    assert caught.value.loss == "inf"
    assert method.layer.weight.item() == 1.0


def test_weights_that_are_not_finite_are_an_error() -> None:
    """Guards the last checkpoint against being overwritten by a step that ruined the weights."""
    step = scale_step()
    step.check_finite()
    step.step = 1
    step.method.layer.weight.data.fill_(math.nan)  # type: ignore[union-attr, operator]
    with pytest.raises(TrainingError, match=r"no longer finite after step 0.*--optim\.lr"):
        step.check_finite()


# ---------------------------------------------------------------- state and signals


def test_restored_state_continues_with_the_same_bits() -> None:
    """Guards every part of the state: networks, target, momentum, step."""
    whole, batches = make_step(optim=LARS)
    for _ in range(2):
        whole(batches)
    other, _ = make_step(optim=LARS, train={"seed": 5})  # with other weights
    other.load_state_dict(copy.deepcopy(whole.state_dict()))
    other.config = whole.config
    batch = next(batches)
    for step in (whole, other):
        step(iter([batch]))
    assert other.step == whole.step == 3
    assert (other.loss, other.lr) == (whole.loss, whole.lr)
    assert_identical(whole.method.state_dict(), other.method.state_dict())


def test_scale_of_sixteen_bit_gradients_is_part_of_the_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guards ``16-mixed``: a new scaler skips steps until it has found its scale again."""

    class Scaler(Precision):
        scale = 65536.0

        def state_dict(self) -> dict[str, Any]:
            return {"scale": self.scale}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.scale = state["scale"]

    def make_fabric(*_: Any) -> Fabric:
        return Fabric(accelerator="cpu", devices=1, plugins=[Scaler()])

    monkeypatch.setattr("massrl.train.step.make_fabric", make_fabric)
    one, other = scale_step(), scale_step()
    one.fabric.strategy.precision.scale = 512.0  # type: ignore[attr-defined]
    other.load_state_dict(one.state_dict())
    assert other.fabric.strategy.precision.scale == 512.0  # type: ignore[attr-defined]


def test_stop_is_announced_by_the_next_step_alone() -> None:
    """Guards callbacks: between two steps nothing may see a stop that no checkpoint has saved."""
    step = scale_step()
    step.stop_requested = signal.SIGTERM
    assert step.stop_signal == 0
    step(iter([batch(1, 2)]))
    assert step.stop_signal == signal.SIGTERM


def test_stop_requested_during_a_step_ends_with_that_step() -> None:
    """Guards a single process against one step more than it needs."""
    step = scale_step()

    class Late(StepObserver):
        @contextmanager
        def stage(self, name: str) -> Iterator[None]:
            if name == "target":
                step.stop_requested = signal.SIGINT
            yield

    step.observer = Late()
    step(iter([batch(1, 2)]))
    assert step.stop_signal == signal.SIGINT


# ---------------------------------------------------------------- two processes


class Noisy(Scale):
    """Draws a number at every step, as dropout does."""

    def forward_backward(self, views: Any, backward: Any) -> MethodOutput:
        """Record the number as the only feature."""
        output = super().forward_backward(views, backward)
        return output._replace(features=torch.rand(1))


def error_of(step: TrainingStep, one: ViewBatch) -> str:
    try:
        step(iter([one]))
    except MassrlError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def steps_of_two(world: World) -> dict[str, Any]:
    """Steps in each of two processes, of which the second has the exceptional images."""
    second = world.rank == 1
    results: dict[str, Any] = {}
    skip = {"data": {"on_error": "skip"}}

    step = scale_step(world=world, **skip)
    step(iter([batch(40, 50, 60, failures=[("b.png", "text")]) if second else batch(1, 2, 3, 4)]))
    results["skipped"] = (step.loss, step.gradient_norm, dict(step.skipped))
    step(iter([batch(10, 20, 30, 40) if second else batch(5, 6, 7, 8)]))
    results["weight"] = step.method.layer.weight.item()  # type: ignore[union-attr, operator]

    failing = batch(1, 2, failures=[("b.png", "text")]) if second else batch(1, 2)
    results["stop"] = error_of(scale_step(world=world), failing)
    single = batch(1, failures=[("b.png", "text")]) if second else batch(1, 2)
    results["single"] = error_of(scale_step(world=world, **skip), single)
    results["nan"] = error_of(scale_step(math.nan if second else 1.0, world=world), batch(5, 7))

    step = scale_step(world=world)
    step.stop_requested = signal.SIGTERM if second else 0
    step(iter([batch(1, 2)]))
    results["signal"] = step.stop_signal

    method: Any = Noisy()
    step, _ = make_step(method, world=world)
    drawn = []
    for number in (0, 1, 0):
        step.step = number
        step(iter([batch(1, 2)]))
        assert step.output is not None
        drawn.append(float(step.output.features))
    results["drawn"] = drawn
    return results


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The results of both processes, by rank."""
    return in_two_processes(steps_of_two, tmp_path_factory.mktemp("two"))


def test_skipped_images_have_no_weight_over_processes(two: list[dict[str, Any]]) -> None:
    """Guards a mean of means: with 4 images in one process and 3 in the other, all weigh the same."""
    one = scale_step(data={"on_error": "skip"})
    one(iter([batch(1, 2, 3, 4, 40, 50, 60)]))
    loss, norm = one.loss, one.gradient_norm
    one(iter([batch(5, 6, 7, 8, 10, 20, 30, 40)]))
    for results in two:
        assert results["skipped"][:2] == pytest.approx((loss, norm), rel=1e-5)
        assert results["skipped"][2] == {"b.png": "text"}
        weight = one.method.layer.weight.item()  # type: ignore[union-attr, operator]
        assert results["weight"] == pytest.approx(weight, rel=1e-5)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("stop", "ImageError: b.png: text (--data.on_error skip"),
        ("single", "TrainingError: a process has fewer than two images"),
        ("nan", "NonFiniteError: the loss is nan at step 0, on the images of indices [5, 7]"),
    ],
)
def test_error_of_one_process_is_raised_in_both(
    two: list[dict[str, Any]], case: str, message: str
) -> None:
    """Guards against a process that waits for ever for another one that has stopped."""
    for results in two:
        assert results[case].startswith(message)


def test_signal_to_one_process_stops_both_after_the_same_step(two: list[dict[str, Any]]) -> None:
    """Guards the checkpoint: of another step in each process it could not be resumed."""
    assert [results["signal"] for results in two] == [signal.SIGTERM] * 2


def test_random_layers_of_two_processes_draw_different_numbers(two: list[dict[str, Any]]) -> None:
    """Guards dropout: equal masks on every device halve the noise; a resumed step repeats its own."""
    first, second = (results["drawn"] for results in two)
    assert first[0] == first[2] != first[1]
    assert second[0] == second[2] != second[1]
    assert not {*first} & {*second}
