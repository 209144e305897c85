"""One sitting of a run: from a resolved configuration and images to trained weights."""

from __future__ import annotations

import copy
import json
import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import lightning
import torch
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch.strategies import DDPStrategy
from rich.console import Console
from torch import Tensor, nn

from massrl.checkpoint import load_checkpoint
from massrl.config import Config
from massrl.data.loader import MakeViews, StepBatches, build_loader, steps_per_epoch
from massrl.data.sources import Source
from massrl.errors import CheckpointError
from massrl.methods.base import Method
from massrl.models.batch_norm import synchronise_batch_norm
from massrl.run_folder import RunFolder
from massrl.train.callbacks import Checkpoints, Probe, Record, Signals
from massrl.train.health import Health
from massrl.train.loggers import Loggers
from massrl.train.module import PretrainingModule
from massrl.train.progress import ProgressLine
from massrl.train.resolve import make_schedule, normalization_of
from massrl.train.step_cost import WARMUP, StepCost, step_cost
from massrl.train.watching import Clock
from massrl.world import World, alone

logger = logging.getLogger("massrl")

_REHEARSAL_SHARE = 0.04  # of the seconds that a run is planned for
_REHEARSAL_WARMUP = 2  # steps that are slower than all later ones


@dataclass(frozen=True)
class Sitting:
    """What came of a sitting.

    Attributes:
        step: optimiser steps made, over all sittings of the run.
        seconds: seconds spent on them, over all sittings.
        stopped_by: name of the signal that stopped it, ``None`` if the run is complete.
        skipped: images that could not be decoded, with the reasons.
    """

    step: int
    seconds: float
    stopped_by: str | None
    skipped: dict[str, str]


def plan_steps(
    config: Config, method: Method, source: Source, make_views: MakeViews, *, world: World
) -> Config:
    """Turn ``train.seconds`` into ``train.max_steps`` by timing a few steps on a copy of the networks.

    Of several processes this one is timed alone, on its share of the batches.

    Args:
        config: a resolved configuration whose ``max_steps`` is still open.
        method: the networks; they are not changed.
        source: the images.
        make_views: makes the views of one image.
        world: this process's place among those of the run.
    """
    assert config.train.seconds is not None
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
        times = _rehearse(module, loader, config.train.seconds)
    step_seconds = sum(times) / len(times)
    steps = max(1, round(config.train.seconds / step_seconds))
    logger.info(
        "--train.max_steps %d: %d steps were timed at %.3f s, for %.0f seconds in all",
        steps,
        len(times),
        step_seconds,
        config.train.seconds,
    )
    return replace(config, train=replace(config.train, max_steps=steps))


def measure_steps(
    config: Config, method: Method, source: Source, make_views: MakeViews
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


def _rehearse(module: PretrainingModule, loader: Any, seconds: float) -> list[float]:
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
            module.learn(on_device, part, Tensor.backward)
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


def restore_point(folder: RunFolder, source: Source) -> dict[str, Any] | None:
    """The last checkpoint of a run, ``None`` before its first.

    Raises:
        CheckpointError: if it cannot be read, or the run learnt from other images.
    """
    if not folder.data.is_file():
        raise CheckpointError(f"{folder.path} does not say what the run learns from: no data.json")
    if json.loads(folder.data.read_text(encoding="utf-8"))["fingerprint"] != source.fingerprint():
        raise CheckpointError(
            f"{folder.path}: {source.name} is not what the run learnt from (names, sizes or labels "
            f"differ); a new run can start with another --out"
        )
    return load_checkpoint(folder.checkpoint) if folder.checkpoint.is_file() else None


def train(
    config: Config,
    method: Method,
    source: Source,
    make_views: MakeViews,
    *,
    world: World,
    folder: RunFolder | None,
    checkpoint: dict[str, Any] | None,
    view_names: list[str],
    console: Console,
    measure: Callable[[nn.Module], float] | None,
    loggers: Loggers | None,
    title: str = "pre-training",
) -> Sitting:
    """Train until the last step or a signal.

    Args:
        config: a resolved configuration.
        method: the networks, changed in place.
        source: the images.
        make_views: makes the views of one image.
        world: this process's place among those of the run.
        folder: the run folder; ``None`` in a process that does not lead.
        checkpoint: where to go on from, ``None`` for the start.
        view_names: one name per view.
        console: where progress is shown.
        measure: gives the k-NN accuracy of a backbone; ``None`` for no probes.
        loggers: are told what ``metrics.csv`` is told; ``None`` in a process that does not lead.
        title: what progress calls the run.

    Raises:
        MassrlError: if the run cannot go on; the last checkpoint is kept.
    """
    per_epoch = steps_per_epoch(len(source), config.batch_size)
    if config.train.compile:
        for network in method.children():
            network.compile()
    if world.size > 1:
        synchronise_batch_norm(method, gpu=config.train.accelerator == "gpu")
        logger.info("%-8s batch norm synchronised over %d processes", "devices", world.size)
    module = PretrainingModule(
        method,
        config=config,
        schedule=make_schedule(config, per_epoch),
        normalization=normalization_of(config, source),
        world=world,
    )
    clock = Clock()
    logger.info(
        "%-8s %d of %d steps", "warm-up", module.schedule.warmup_steps, module.schedule.total_steps
    )
    if checkpoint is not None:
        module.restore(checkpoint)
        clock.seconds = float(checkpoint["seconds"])
        logger.info("going on from step %d of %d", module.step, module.schedule.total_steps)
    if module.step >= module.schedule.total_steps:
        return Sitting(module.step, clock.seconds, None, module.skipped)
    signals, callbacks = _callbacks(
        config, source, folder, view_names, console, measure, clock, title, loggers
    )
    loader = _loader(config, source, make_views, start_step=module.step, world=world)
    _trainer(config, callbacks, num_batches=len(loader), world=world).fit(module, loader)
    return Sitting(module.step, clock.seconds, signals.received, module.skipped)


def _loader(
    config: Config, source: Source, make_views: MakeViews, *, start_step: int, world: World
) -> Any:
    batches = StepBatches(
        len(source),
        config.batch_size,
        seed=config.train.seed,
        accumulate=config.train.accumulate,
        start_step=start_step,
        total_steps=config.train.max_steps or 1,
        share=(world.rank, world.size),
    )
    return build_loader(
        source,
        make_views,
        batches=batches,
        workers=config.data.workers or 0,
        pin=config.train.accelerator == "gpu",
    )


def _callbacks(
    config: Config,
    source: Source,
    folder: RunFolder | None,
    view_names: list[str],
    console: Console,
    measure: Callable[[nn.Module], float] | None,
    clock: Clock,
    title: str,
    loggers: Loggers | None,
) -> tuple[Signals, list[lightning.Callback]]:
    """In the order in which they act after a step: measure, write, save, show, stop.

    The clock comes last, so that between two steps it sees nothing but the wait for data. A process
    that does not lead takes part in measuring and in stopping.
    """
    per_epoch = steps_per_epoch(len(source), config.batch_size)
    every = round(config.train.probe_every * per_epoch)
    probe = Probe(measure, every=every, clock=clock) if measure is not None and every else None
    probes: list[lightning.Callback] = [probe] if probe is not None else []
    if folder is None or loggers is None:
        signals = Signals(None)
        return signals, [*probes, signals, clock]
    health = Health(view_names, folder.matrix)
    record = Record(folder.metrics, clock=clock, health=health, probe=probe, loggers=loggers)
    checkpoints = Checkpoints(
        folder.checkpoint,
        every=config.train.checkpoint_every,
        clock=clock,
        record=record,
    )
    signals = Signals(checkpoints)
    progress = ProgressLine(console, title=title, clock=clock, probe=probe)
    return signals, [health, *probes, record, checkpoints, progress, signals, clock]


class OneMessage(DDPStrategy):
    """Lightning's strategy of one process a device, with the gradients left to the module.

    A step back-propagates its views one after the other, and its batches too; what is to be averaged is
    known after the last of them. It then takes one message, in place of torch's one for every backward.
    """

    def configure_ddp(self) -> None:
        """Leave the module as it is."""


def _trainer(
    config: Config, callbacks: list[lightning.Callback], *, num_batches: int, world: World
) -> lightning.Trainer:
    """Lightning's trainer, with everything that this package does itself left out.

    To Lightning the rest of a run is one epoch: the loader knows the epochs of the data.
    """
    together = world.size > 1
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\..*")
    return lightning.Trainer(
        accelerator=config.train.accelerator,
        devices=world.local_size,
        num_nodes=world.nodes,
        strategy=OneMessage() if together else "auto",
        plugins=[TorchElasticEnvironment()] if together else None,
        precision=config.train.precision,  # type: ignore[arg-type]
        max_epochs=1,
        limit_train_batches=num_batches,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
