"""One session of a run: train from the start or a checkpoint, in every process of the run."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from rich.console import Console
from torch.utils.data import DataLoader

from massrl.config.pretrain import Config
from massrl.data.build import normalization_of
from massrl.data.loader import StepBatchSampler, ViewBatch, build_loader, steps_per_epoch
from massrl.data.source import Source
from massrl.data.sources.cache import CachedSource
from massrl.distributed import World
from massrl.errors import DataError, NonFiniteError, counted
from massrl.evaluation.online_knn import Measure
from massrl.files import write_json
from massrl.methods.base import Method
from massrl.models.batch_norm import synchronise_batch_norm
from massrl.runs.folder import RunFolder
from massrl.train.callbacks.base import Clock, StepCallback
from massrl.train.callbacks.checkpoints import Checkpoints
from massrl.train.callbacks.collapse import CollapseMonitor
from massrl.train.callbacks.final_files import FinalFiles
from massrl.train.callbacks.metrics import MetricsCallback
from massrl.train.callbacks.probe import Probe
from massrl.train.callbacks.progress import ProgressLine
from massrl.train.callbacks.signals import SignalHandler
from massrl.train.callbacks.time_limit import TimeBudget, TimeLimit
from massrl.train.initialize import drop_init_from, make_method
from massrl.train.loggers import Loggers
from massrl.train.loop import train
from massrl.train.resolve import make_schedule, probe_interval
from massrl.train.step import TrainingStep
from massrl.views.build import make_view_maker
from massrl.views.view_maker import ViewMaker

logger = logging.getLogger("massrl")


@dataclass(frozen=True)
class SessionResult:
    """Result of a session.

    Attributes:
        step: optimiser steps made, over all sessions of the run.
        seconds: seconds of these steps, over all sessions.
        stopped_by: name of the signal that stopped the session, or ``TIME_BUDGET``; ``None`` if the run is
            complete.
        skipped: names of images that could not be decoded -> reasons.
    """

    step: int
    seconds: float
    stopped_by: str | None
    skipped: dict[str, str]


@dataclass(frozen=True)
class PretrainResult:
    """Result of ``massrl.pretrain``.

    Attributes:
        folder: the run folder.
        config: the resolved configuration.
        session: steps, seconds, and what stopped the run, if anything.
        is_main: whether this process wrote the run folder; one process of a run does.
    """

    folder: Path
    config: Config
    session: SessionResult
    is_main: bool = True


@dataclass(frozen=True, kw_only=True)
class Run:
    """What every process of a run needs.

    Attributes:
        config: the resolved configuration.
        source: the training images.
        checkpoint: content of the checkpoint to resume from, ``None`` for a new run.
        world: ranks of this process.
        measure: returns the k-NN accuracy of a backbone in percent; ``None`` for no probes.
    """

    config: Config
    source: Source
    checkpoint: dict[str, Any] | None
    world: World
    measure: Measure | None


@dataclass(frozen=True, kw_only=True)
class MainProcess:
    """What the main process needs to write and show the run.

    Attributes:
        folder: the run folder.
        loggers: receive the rows of ``metrics.csv``.
        console: shows the progress line.
        title: name of the run on the progress line.
        budget: seconds that a new run may take; ``None`` for no limit.
    """

    folder: RunFolder
    loggers: Loggers
    console: Console
    title: str
    budget: TimeBudget | None = None


def run_session(run: Run, main: MainProcess | None) -> tuple[SessionResult, Method]:
    """Train until the last step, a signal, or the end of the time budget.

    Args:
        run: configuration, images, checkpoint and ranks.
        main: folder, loggers and console of the main process; ``None`` in the others.

    Returns:
        The session's result, and the trained networks.

    Raises:
        MassrlError: if the run cannot continue; its last checkpoint stays valid.
    """
    config, source, checkpoint = run.config, run.source, run.checkpoint
    maker = make_run_views(config)
    # Tried before the run folder was made; a resumed run goes on as it was.
    started = config if checkpoint is None else drop_init_from(config)
    method = make_method(started, maker.layout, check=False)
    clock = Clock(float(checkpoint["seconds"]) if checkpoint is not None else 0.0)
    prepare_networks(method, config, run.world)
    step = TrainingStep(
        method,
        config=config,
        layout=maker.layout,
        schedule=make_schedule(config, steps_per_epoch(len(source), config.batch_size)),
        normalization=normalization_of(config, source),
        world=run.world,
        observer=clock,
    )
    total = step.schedule.total_steps
    logger.info("%-8s %d of %s", "warm-up", step.schedule.warmup_steps, counted(total, "step"))
    chance = method.chance(config.batch_size // config.train.accumulate)
    if chance is not None:
        logger.info(
            "%-8s loss %.4g: of a network that tells no image from another", "guessing", chance
        )
    if checkpoint is not None:
        step.load_state_dict(checkpoint)
        logger.info("resuming from step %d of %d", step.step, total)
    signals = SignalHandler()
    loader = make_loader(config, source, maker, start_step=step.step, world=run.world)
    try:
        train(step, loader, _callbacks(run, main, clock, signals, maker.layout.view_names()))
    except NonFiniteError as error:
        if main is not None:
            save_nonfinite_plans(error, main.folder, source, maker, batch_size=config.batch_size)
        raise
    return SessionResult(step.step, clock.seconds, signals.received, step.skipped), method


def _callbacks(
    run: Run,
    main: MainProcess | None,
    clock: Clock,
    signals: SignalHandler,
    view_names: list[str],
) -> list[StepCallback]:
    """Return the callbacks in the order in which they run after a step: measure, write, save, show, end.

    The clock comes last, so that it measures the whole step. Processes other than the main one only
    probe and stop.
    """
    config = run.config
    per_epoch = steps_per_epoch(len(run.source), config.batch_size)
    every = probe_interval(config, per_epoch)
    measured = run.measure is not None and every > 0
    probe = Probe(run.measure, every=every, clock=clock) if run.measure and measured else None
    probes: list[StepCallback] = [probe] if probe is not None else []
    if main is None:
        return [signals, *probes, clock]
    monitor = CollapseMonitor(view_names, main.folder.matrix)
    metrics = MetricsCallback(
        main.folder.metrics,
        steps_per_epoch=per_epoch,
        clock=clock,
        monitor=monitor,
        probe=probe,
        loggers=main.loggers,
    )
    checkpoints = Checkpoints(
        main.folder.checkpoint, every=config.train.checkpoint_every, clock=clock, metrics=metrics
    )
    progress = ProgressLine(main.console, title=main.title, clock=clock, probe=probe)
    files = FinalFiles(main.folder, main.loggers)
    limits = [TimeLimit(main.budget)] if main.budget is not None else []
    return [signals, *limits, monitor, *probes, metrics, checkpoints, progress, files, clock]


def prepare_networks(method: Method, config: Config, world: World) -> None:
    """Compile the networks if configured; with several processes, synchronise their batch norm."""
    if config.train.compile:
        for network in method.children():
            network.compile()
    if world.size > 1:
        synchronise_batch_norm(method, gpu=config.train.accelerator == "gpu")
        logger.info("%-8s batch norm synchronised over %d processes", "devices", world.size)


def make_loader(
    config: Config, source: Source, maker: ViewMaker, *, start_step: int, world: World
) -> DataLoader[ViewBatch]:
    """Return a loader of this process's batches, for all steps from ``start_step`` on."""
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
        maker,
        batches=batches,
        workers=config.data.workers or 0,
        pin=config.train.accelerator == "gpu",
        share_room=world.local_size,
    )


def make_run_views(config: Config) -> ViewMaker:
    """Return the view maker of a resolved configuration."""
    return make_view_maker(config.views, size=config.view_size, seed=config.train.seed)


def cache_in_memory(source: Source, config: Config) -> Source:
    """Return the images decoded in memory with ``data.cache`` ``memory``, else unchanged."""
    in_memory = config.data.cache == "memory"
    return CachedSource(source, view_size=config.view_size) if in_memory else source


def check_same_images(world: World, source: Source) -> None:
    """Raise if the processes would train on different images.

    Raises:
        DataError: in all processes alike.
    """
    gathered = world.all_gather_object((source.fingerprint(), None))
    for rank, (_, problem) in enumerate(gathered):
        if problem is not None:
            raise DataError(f"process {rank}: {problem}")
    if len(set(gathered)) > 1:
        raise DataError(
            f"{source.name} is not the same for all {world.size} processes (names, sizes or labels "
            f"differ from one machine to another)"
        )


def save_nonfinite_plans(
    error: NonFiniteError, folder: RunFolder, source: Source, maker: ViewMaker, *, batch_size: int
) -> None:
    """Save the view plans of the images with a non-finite loss, for ``massrl views --replay``."""
    epoch = error.step // steps_per_epoch(len(source), batch_size)
    plans = []
    for index in error.indices:
        _, plan = maker.decode_and_plan(source.read(index), epoch=epoch, index=index)
        plans.append({"image": source.describe(index), **plan.to_json()})
    content = {"step": error.step, "epoch": epoch, "loss": error.loss, "indices": error.indices}
    write_json(folder.non_finite, {**content, "plans": plans})
    logger.warning(
        "the images and views of this step are saved in %s: massrl views --replay %s --step %d shows them",
        folder.non_finite.name,
        quote(str(folder.path)),
        error.step,
    )
