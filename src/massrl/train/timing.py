"""What a training step costs on this machine: where its time goes, and what share of the peak it reaches."""

from __future__ import annotations

import copy
import logging
import resource
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from massrl.config.pretrain import Config
from massrl.data.build import normalization_of, training_source
from massrl.data.loader import ViewPipeline, steps_per_epoch
from massrl.data.source import Source
from massrl.distributed import World, alone
from massrl.errors import ConfigError
from massrl.methods.base import Method
from massrl.runs.environment import detect_hardware
from massrl.train.initialize import make_method
from massrl.train.loop import _loader
from massrl.train.module import PretrainingModule, gradient_norm
from massrl.train.resolve import make_schedule, resolve_config
from massrl.train.session import _kept, _view_maker

logger = logging.getLogger("massrl")

STAGES = ("data", "target", "forward", "backward", "optimiser")


WARMUP = 3  # steps that are slower than all later ones


_SIDE = 2048  # of the matrices whose product gives the machine's peak


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """Medians over several optimiser steps.

    Attributes:
        num_views: views of each image.
        batch_size: unique images of a step.
        stages: milliseconds of each stage; the target's are its forward passes and its update.
        step: milliseconds of all of them together.
        memory: peak of the process, or of the GPU, bytes.
        flops: floating-point operations of a step, those of matrix products and convolutions.
        peak: floating-point operations a second that this machine was seen to do.
    """

    num_views: int
    batch_size: int
    stages: dict[str, float]
    step: float
    memory: int
    flops: int
    peak: float

    @property
    def images_per_second(self) -> float:
        """Unique images."""
        return self.batch_size / self.step * 1000

    @property
    def share_of_peak(self) -> float:
        """Share of the machine's peak that a step reaches, its wait for data left out."""
        return self.flops / ((self.step - self.stages["data"]) / 1000) / self.peak

    def lines(self) -> list[str]:
        """The figures for a person, line by line."""
        rest = self.step - sum(self.stages.values())
        rows = [f"{'stage':<14}ms a step   share"]
        rows += [
            f"  {name:<12}{value:9.1f}{value / self.step:8.0%}"
            for name, value in {**self.stages, "between them": rest}.items()
        ]
        speed = self.images_per_second
        return [
            *rows,
            f"  {'step':<12}{self.step:9.1f}   {speed:,.0f} images/s, {speed * self.num_views:,.0f} views/s",
            "",
            f"peak memory      {self.memory / 2**20:,.0f} MiB",
            f"a step computes  {self.flops / 1e9:,.1f} GFLOP, {self.share_of_peak:.0%} of the "
            f"{self.peak / 1e9:,.0f} GFLOP/s that a product of large matrices reaches here",
        ]


class _Stopwatch:
    """Seconds by stage; waits for the device at every reading."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._device = device

    def now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begin = self.now()
        yield
        self.seconds[name] += self.now() - begin

    def around(self, name: str, network: nn.Module) -> None:
        """Take the network's forward passes for this stage."""
        begins: list[float] = []
        network.register_forward_pre_hook(lambda *_: begins.append(self.now()))

        def after(*_: Any) -> None:
            self.seconds[name] += self.now() - begins.pop()

        network.register_forward_hook(after)


def step_cost(module: PretrainingModule, loader: Any, *, steps: int) -> StepCost:
    """Measure optimiser steps of a run's own module on its own batches.

    Args:
        module: networks, objective and schedule; its weights are changed.
        loader: gives batches for ``steps`` steps and three more.
        steps: how many are measured.
    """
    config = module.config
    device = torch.device("cuda" if config.train.accelerator == "gpu" else "cpu")
    module.to(device).train()
    optimizer = module.configure_optimizers()
    watch = _Stopwatch(device)
    for name, network in module.method.named_children():
        if name.startswith("target"):
            watch.around("target", network)
    half = torch.float16 if config.train.precision == "16-mixed" else torch.bfloat16
    cast = torch.autocast(device.type, half, enabled=config.train.precision != "32-true")
    batches = iter(loader)
    flops = 0
    times: list[dict[str, float]] = []
    for number in range(WARMUP + steps):
        watch.seconds.clear()
        begin = watch.now()
        parts = []
        with watch.stage("data"):
            for _ in range(config.train.accumulate):
                parts.append(move_data_to_device(next(batches), device))
        counter = FlopCounterMode(display=False) if number == 0 else None
        with counter or _nothing():
            for part, batch in enumerate(parts):
                with watch.stage("learn"), cast:
                    module.forward_backward(batch, part, _timed(watch))
        if counter is not None:
            flops = counter.get_total_flops()
        with watch.stage("optimiser"):
            gradient_norm(module.method)
            optimizer.step()
            optimizer.zero_grad()
        with watch.stage("target"):
            module.method.update_target(0.99)
        times.append({**watch.seconds, "step": watch.now() - begin})
    median = {
        name: statistics.median(step.get(name, 0.0) for step in times[WARMUP:]) * 1000
        for name in (*STAGES, "learn", "step")
    }
    updates = median["step"] - median["data"] - median["learn"] - median["optimiser"]
    median["forward"] = median["learn"] - median["backward"] - (median["target"] - updates)
    return StepCost(
        num_views=len(module.method.mask),
        batch_size=config.batch_size,
        stages={name: median[name] for name in STAGES},
        step=median["step"],
        memory=_memory(device),
        flops=flops,
        peak=_peak(device, half if config.train.precision != "32-true" else torch.float32),
    )


def _timed(watch: _Stopwatch) -> Callable[[Tensor], None]:
    def backward(loss: Tensor) -> None:
        with watch.stage("backward"):
            loss.backward()  # type: ignore[no-untyped-call]

    return backward


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _peak(device: torch.device, dtype: torch.dtype) -> float:
    """The best of several products of large matrices, operations a second."""
    watch = _Stopwatch(device)
    one, other = (torch.ones(_SIDE, _SIDE, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(6):
        begin = watch.now()
        one @ other
        seconds.append(watch.now() - begin)
    return 2 * _SIDE**3 / min(seconds)


_REHEARSAL_SHARE = 0.04  # of the seconds that a run is planned for


_REHEARSAL_WARMUP = 2  # steps that are slower than all later ones


def estimate_max_steps(
    config: Config, method: Method, source: Source, make_views: ViewPipeline, *, world: World
) -> Config:
    """Turn ``train.time_budget`` into ``train.max_steps`` by timing a few steps on a copy of the networks.

    Of several processes this one is timed alone, on its share of the batches.

    Args:
        config: a resolved configuration whose ``max_steps`` is still open.
        method: the networks; they are not changed.
        source: the images.
        make_views: makes the views of one image.
        world: this process's place among those of the run.
    """
    assert config.train.time_budget is not None
    per_epoch = steps_per_epoch(len(source), config.batch_size)
    rehearsal = replace(config, train=replace(config.train, max_steps=100_000))
    module = PretrainingModule(
        copy.deepcopy(method),
        config=rehearsal,
        schedule=make_schedule(rehearsal, per_epoch),
        normalization=normalization_of(config, source),
    )
    loader = _loader(rehearsal, source, make_views, start_step=0, world=world)
    with alone():
        times = time_steps(module, loader, config.train.time_budget)
    step_seconds = sum(times) / len(times)
    steps = max(1, round(config.train.time_budget / step_seconds))
    logger.info(
        "--train.max_steps %d: %d steps were timed at %.3f s, for %.0f seconds in all",
        steps,
        len(times),
        step_seconds,
        config.train.time_budget,
    )
    return replace(config, train=replace(config.train, max_steps=steps))


def measure_steps(
    config: Config, method: Method, source: Source, make_views: ViewPipeline
) -> StepCost:
    """What ``train.max_steps`` steps of a resolved configuration cost here, a few more before them."""
    assert config.train.max_steps is not None
    longer = replace(config, train=replace(config.train, max_steps=config.train.max_steps + WARMUP))
    module = PretrainingModule(
        method,
        config=longer,
        schedule=make_schedule(longer, steps_per_epoch(len(source), config.batch_size)),
        normalization=normalization_of(config, source),
    )
    if config.train.compile:
        for network in method.children():
            network.compile()
    loader = _loader(longer, source, make_views, start_step=0, world=World())
    return step_cost(module, loader, steps=config.train.max_steps)


def time_steps(module: PretrainingModule, loader: Any, seconds: float) -> list[float]:
    """Time a few steps; return the seconds of each after the warm-up."""
    device = torch.device("cuda" if module.config.train.accelerator == "gpu" else "cpu")
    half = torch.float16 if module.config.train.precision == "16-mixed" else torch.bfloat16
    module.to(device).train()
    optimizer = module.configure_optimizers()
    times: list[float] = []
    begin = last = time.perf_counter()
    parts = module.config.train.accumulate
    for number, batch in enumerate(loader):
        part = number % parts
        on_device = move_data_to_device(batch, device)
        with torch.autocast(device.type, half, enabled=module.config.train.precision != "32-true"):
            module.forward_backward(on_device, part, Tensor.backward)
        if part < parts - 1:
            continue
        optimizer.step()
        optimizer.zero_grad()
        module.method.update_target(0.99)
        float(module.method.mask.sum())  # waits for the device
        now = time.perf_counter()
        times.append(now - last)
        last = now
        enough = len(times) >= _REHEARSAL_WARMUP + 3
        if enough and now - begin > min(30.0, _REHEARSAL_SHARE * seconds):
            break
    return times[_REHEARSAL_WARMUP:] or times


_MEASURED_STEPS = 20


def cost_of_steps(wanted: Config) -> StepCost:
    """Measure a few steps of a run that is not begun; see ``massrl.measure_step``."""
    if not wanted.data.train:
        raise ConfigError("no images to learn from: --data.train takes a folder, a list or a name")
    if wanted.train.num_devices > 1:
        raise ConfigError(
            "a step is measured on one device: --train.devices 1, and a --data.batch_size of its share"
        )
    source = training_source(wanted.data)
    resolved, _ = resolve_config(wanted, source, detect_hardware(wanted.train.accelerator))
    steps = resolved.train.max_steps if wanted.train.max_steps else _MEASURED_STEPS
    resolved = replace(resolved, train=replace(resolved.train, max_steps=steps))
    source = _kept(source, resolved)
    return measure_steps(resolved, make_method(resolved), source, _view_maker(resolved))
