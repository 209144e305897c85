"""One sitting of a run: from a resolved configuration and images to trained weights."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightning
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from rich.console import Console
from torch import nn

from massrl.config.pretrain import Config
from massrl.data.build import normalization_of
from massrl.data.loader import StepBatchSampler, ViewPipeline, build_loader, steps_per_epoch
from massrl.data.source import Source
from massrl.distributed import World
from massrl.methods.base import Method
from massrl.models.batch_norm import synchronise_batch_norm
from massrl.runs.folder import RunFolder
from massrl.train.callbacks.base import Clock
from massrl.train.callbacks.checkpoints import Checkpoints
from massrl.train.callbacks.collapse import CollapseMonitor
from massrl.train.callbacks.metrics import MetricsCallback
from massrl.train.callbacks.probe import Probe
from massrl.train.callbacks.progress import ProgressLine
from massrl.train.callbacks.signals import SignalHandler
from massrl.train.loggers import Loggers
from massrl.train.module import PretrainingModule
from massrl.train.resolve import make_schedule

logger = logging.getLogger("massrl")


@dataclass(frozen=True)
class SessionResult:
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


def train(
    config: Config,
    method: Method,
    source: Source,
    make_views: ViewPipeline,
    *,
    world: World,
    folder: RunFolder | None,
    checkpoint: dict[str, Any] | None,
    view_names: list[str],
    console: Console,
    measure: Callable[[nn.Module], float] | None,
    loggers: Loggers | None,
    title: str = "pre-training",
) -> SessionResult:
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
        return SessionResult(module.step, clock.seconds, None, module.skipped)
    signals, callbacks = _callbacks(
        config, source, folder, view_names, console, measure, clock, title, loggers
    )
    loader = _loader(config, source, make_views, start_step=module.step, world=world)
    _trainer(config, callbacks, num_batches=len(loader), world=world).fit(module, loader)
    return SessionResult(module.step, clock.seconds, signals.received, module.skipped)


def _loader(
    config: Config, source: Source, make_views: ViewPipeline, *, start_step: int, world: World
) -> Any:
    batches = StepBatchSampler(
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
) -> tuple[SignalHandler, list[lightning.Callback]]:
    """In the order in which they act after a step: measure, write, save, show, stop.

    The clock comes last, so that between two steps it sees nothing but the wait for data. A process
    that does not lead takes part in measuring and in stopping.
    """
    per_epoch = steps_per_epoch(len(source), config.batch_size)
    every = round(config.train.probe_every * per_epoch)
    probe = Probe(measure, every=every, clock=clock) if measure is not None and every else None
    probes: list[lightning.Callback] = [probe] if probe is not None else []
    if folder is None or loggers is None:
        signals = SignalHandler(None)
        return signals, [*probes, signals, clock]
    health = CollapseMonitor(view_names, folder.matrix)
    record = MetricsCallback(
        folder.metrics, clock=clock, health=health, probe=probe, loggers=loggers
    )
    checkpoints = Checkpoints(
        folder.checkpoint,
        every=config.train.checkpoint_every,
        clock=clock,
        record=record,
    )
    signals = SignalHandler(checkpoints)
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
