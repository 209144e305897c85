"""Measure training steps on this machine."""

from __future__ import annotations

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import nn

from massrl.config.pretrain import Config
from massrl.data.build import normalization_of, training_source
from massrl.data.loader import ViewBatch, steps_per_epoch
from massrl.data.source import Source
from massrl.distributed import World
from massrl.errors import ConfigError
from massrl.methods.base import Method
from massrl.runs.environment import detect_hardware
from massrl.train.initialize import make_method
from massrl.train.resolve import make_schedule, resolve_config
from massrl.train.session import cache_in_memory, make_loader, make_run_views, prepare_networks
from massrl.train.step import StepObserver, TrainingStep
from massrl.views.view_maker import ViewMaker

STAGES = ("data", "target", "forward", "backward", "optimiser")
_WARMUP = 3  # first steps, which are slower
_MEASURED_STEPS = 20
_PEAK_SIDE = 2048  # of the matrices whose product measures the machine's peak
ENDLESS = 100_000  # steps, of a run that is stopped earlier
_ESTIMATE_WARMUP = 2  # first steps, which are slower


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """Cost of an optimiser step: medians over several.

    Attributes:
        num_views: views of each image.
        batch_size: unique images of a step.
        stages: milliseconds of each stage; ``target`` is the target's forward passes and its update.
        step: milliseconds of the whole step.
        memory: peak memory of the process, or of the GPU, bytes; ``None`` where the system does not tell.
        flops: floating-point operations of the matrix products and convolutions of a step.
        peak: measured peak of this machine, floating-point operations per second.
    """

    num_views: int
    batch_size: int
    stages: dict[str, float]
    step: float
    memory: int | None
    flops: int
    peak: float

    @property
    def images_per_second(self) -> float:
        """Unique images per second."""
        return self.batch_size / self.step * 1000

    @property
    def share_of_peak(self) -> float:
        """Fraction of the machine's peak that a step reaches, without its wait for data."""
        return self.flops / ((self.step - self.stages["data"]) / 1000) / self.peak

    def lines(self) -> list[str]:
        """Return the costs as lines of text."""
        rest = max(0.0, self.step - sum(self.stages.values()))  # each is a median of its own
        rows = [f"{'stage':<14}ms a step   share"]
        rows += [
            f"  {name:<12}{value:9.1f}{value / self.step:8.0%}"
            for name, value in {**self.stages, "between them": rest}.items()
        ]
        speed = self.images_per_second
        memory = "unknown" if self.memory is None else f"{self.memory / 2**20:,.0f} MiB"
        return [
            *rows,
            f"  {'step':<12}{self.step:9.1f}   {speed:,.0f} images/s, {speed * self.num_views:,.0f} views/s",
            "",
            f"peak memory      {memory}",
            f"a step computes  {self.flops / 1e9:,.1f} GFLOP, {self.share_of_peak:.0%} of the "
            f"{self.peak / 1e9:,.0f} GFLOP/s that a product of large matrices reaches here",
        ]


class Stopwatch(StepObserver):
    """Measure the seconds of each stage; waits for the device at every reading.

    Nested stages are exclusive: ``forward`` does not include the ``backward`` and ``target`` inside it.

    Attributes:
        seconds: stage -> seconds so far.
    """

    def __init__(self, device: torch.device) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._device = device
        self._open: list[tuple[float, float]] = []  # begin, seconds of nested stages

    def now(self) -> float:
        """Wait for the device, and return the seconds of a monotonic clock."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """See ``StepObserver.stage``."""
        self._begin()
        yield
        self._end(name)

    def count_forward(self, name: str, network: nn.Module) -> None:
        """Attribute the network's forward passes to a stage."""
        network.register_forward_pre_hook(lambda *_: self._begin())
        network.register_forward_hook(lambda *_: self._end(name))

    def _begin(self) -> None:
        self._open.append((self.now(), 0.0))

    def _end(self, name: str) -> None:
        begin, nested = self._open.pop()
        whole = self.now() - begin
        self.seconds[name] += whole - nested
        if self._open:
            outer_begin, outer_nested = self._open.pop()
            self._open.append((outer_begin, outer_nested + whole))


def measure_steps(step: TrainingStep, batches: Iterable[ViewBatch], *, count: int) -> StepCost:
    """Measure optimiser steps of a run.

    Args:
        step: networks and optimiser; they are trained, and the observer is replaced.
        batches: batches of ``count`` steps and three more, for warm-up.
        count: number of steps to measure.
    """
    from torch.utils.flop_counter import FlopCounterMode  # loads torch's compiler

    config, device = step.config, step.fabric.device
    watch = step.observer = Stopwatch(device)
    for name, network in step.method.named_children():
        if name.startswith("target"):
            watch.count_forward("target", network)
    iterator = iter(batches)
    flops = 0
    times: list[dict[str, float]] = []
    for number in range(_WARMUP + count):
        watch.seconds.clear()
        counter = FlopCounterMode(display=False) if number == 0 else None
        begin = watch.now()
        with counter or nullcontext():
            step(iterator)
        times.append({**watch.seconds, "step": watch.now() - begin})
        if counter is not None:
            flops = counter.get_total_flops()
    median = {
        name: statistics.median(each.get(name, 0.0) for each in times[_WARMUP:]) * 1000
        for name in (*STAGES, "step")
    }
    half = torch.float16 if config.train.precision == "16-mixed" else torch.bfloat16
    return StepCost(
        num_views=step.method.num_views,
        batch_size=config.batch_size,
        stages={name: median[name] for name in STAGES},
        step=median["step"],
        memory=_peak_memory(device),
        flops=flops,
        peak=_peak_flops(device, half if config.train.precision != "32-true" else torch.float32),
    )


def _peak_memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # as on Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Return the best operations per second of several products of large matrices."""
    watch = Stopwatch(device)
    one, other = (torch.ones(_PEAK_SIDE, _PEAK_SIDE, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(6):
        begin = watch.now()
        one @ other
        seconds.append(watch.now() - begin)
    return 2 * _PEAK_SIDE**3 / min(seconds)


def cost_of_steps(requested: Config) -> StepCost:
    """Measure a few steps of a configuration without starting a run; see ``massrl.measure_step``."""
    if not requested.data.train:
        raise ConfigError("no training images: --data.train takes a folder, a list or a name")
    if requested.train.num_devices > 1:
        raise ConfigError(
            "a step is measured on one device: use --train.devices 1 and the --data.batch_size of one device"
        )
    count = requested.train.max_steps or _MEASURED_STEPS
    step, loader = _prepare(requested, max_steps=_WARMUP + count)
    return measure_steps(step, loader, count=count)


def seconds_per_step(requested: Config, *, at_most: float) -> float:
    """Measure the mean seconds of a step of a configuration, without starting a run.

    Args:
        requested: of one device.
        at_most: seconds to measure for; three steps are measured at least.
    """
    step, loader = _prepare(requested, max_steps=ENDLESS)
    return statistics.fmean(time_steps(step, loader, at_most=at_most))


def _prepare(requested: Config, *, max_steps: int) -> tuple[TrainingStep, Iterable[ViewBatch]]:
    """Return the networks and the batches of a configuration with this many steps."""
    source = training_source(requested.data)
    config, _ = resolve_config(requested, source, detect_hardware(requested.train.accelerator))
    config = replace(config, train=replace(config.train, max_steps=max_steps))
    source, maker = cache_in_memory(source, config), make_run_views(config)
    method = make_method(config, maker.layout)
    prepare_networks(method, config, World())
    loader = make_loader(config, source, maker, start_step=0, world=World())
    return make_step(config, method, source, maker), loader


def make_step(config: Config, method: Method, source: Source, maker: ViewMaker) -> TrainingStep:
    """Return the training state of a configuration in this process alone."""
    return TrainingStep(
        method,
        config=config,
        layout=maker.layout,
        schedule=make_schedule(config, steps_per_epoch(len(source), config.batch_size)),
        normalization=normalization_of(config, source),
    )


def time_steps(step: TrainingStep, batches: Iterable[ViewBatch], *, at_most: float) -> list[float]:
    """Make optimiser steps for up to ``at_most`` seconds, at least three, and return the seconds of each.

    Two more are made first, which are slower, and do not count.
    """
    times: list[float] = []
    iterator = iter(batches)
    last = time.perf_counter()
    while len(times) < _ESTIMATE_WARMUP + 3 or sum(times[_ESTIMATE_WARMUP:]) <= at_most:
        step(iterator)
        float(step.method.mask.sum())  # wait for the device
        now = time.perf_counter()
        times.append(now - last)
        last = now
    return times[_ESTIMATE_WARMUP:]
