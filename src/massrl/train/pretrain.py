"""Start and resume runs: from a configuration to a run folder with trained weights."""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager
from dataclasses import replace

from rich.console import Console

from massrl.config.files import load_config
from massrl.config.pretrain import Config, TrainConfig
from massrl.data.build import training_source
from massrl.data.source import Source, describe_source
from massrl.distributed import World
from massrl.errors import ConfigError
from massrl.evaluation.data import validation_source
from massrl.evaluation.online_knn import make_probe
from massrl.files import drawn_again, write_json
from massrl.images.pictures import read_picture
from massrl.methods.base import Method
from massrl.registry import OPTIMIZERS
from massrl.runs.environment import detect_hardware
from massrl.runs.folder import RunFolder, resume_hint, save_config, with_policies
from massrl.runs.log import held_messages, logging_to
from massrl.train.budget import length_warnings, plan_steps
from massrl.train.callbacks.time_limit import TimeBudget
from massrl.train.checkpoint import restore_point
from massrl.train.initialize import describe_start, make_method
from massrl.train.launch import process_group
from massrl.train.launchers import TIME_LIMIT_SIGNAL, is_restart, launch_variables, requeue
from massrl.train.loggers import Loggers, check_loggers
from massrl.train.resolve import changed_fields, resolve_config, resolve_resumed
from massrl.train.session import (
    MainProcess,
    PretrainResult,
    Run,
    cache_in_memory,
    check_same_images,
    make_run_views,
    run_session,
)
from massrl.train.startup import log_config, sanity_warnings
from massrl.train.workers import run_worker
from massrl.views.drawing.contact_sheet import save_sheet
from massrl.views.drawing.sheet_rows import sheet_rows
from massrl.views.layouts import resolve_layout
from massrl.views.view_maker import ViewMaker

logger = logging.getLogger("massrl")

_SHEET_ROWS = 6


def start_run(
    requested: Config,
    *,
    console: Console,
    title: str,
    begin: float | None = None,
    overwrite: bool = False,
) -> PretrainResult:
    """Start a run; see ``massrl.pretrain``.

    Args:
        requested: the user's configuration.
        console: where progress is shown.
        title: name of the run in the progress display.
        begin: reading of ``time.monotonic`` that a time budget starts at; now if ``None``.
        overwrite: replace a run, and files of somebody else, in its folder.
    """
    begin = time.monotonic() if begin is None else begin
    if not requested.data.train:
        raise ConfigError("no training images: --data.train takes a folder, a list or a name")
    check_loggers(requested.train.loggers)
    with _process_group(requested.train) as world:
        if not world.is_main:
            return run_worker(world)
        existing = RunFolder(requested.out)
        if requested.out and is_restart() and existing.config.is_file():
            return _continue(
                existing, load_config(existing.config), world, console=console, title=title
            )
        if requested.out:
            existing.check_new(overwrite=overwrite)
        return _begin(
            requested, world, console=console, title=title, begin=begin, overwrite=overwrite
        )


def resume_run(
    folder: RunFolder, config: Config | None, *, console: Console, title: str
) -> PretrainResult:
    """Continue a run; see ``massrl.resume``."""
    before = load_config(folder.config)
    requested = config or before
    check_loggers(requested.train.loggers)
    devices, nodes = requested.train.devices, requested.train.nodes
    if launch_variables() is not None:  # a launcher's numbers replace the run's, but not the user's
        devices = None if devices == before.train.devices else devices
        nodes = None if nodes == before.train.nodes else nodes
    with _process_group(replace(requested.train, devices=devices, nodes=nodes)) as world:
        if not world.is_main:
            return run_worker(world)
        return _continue(folder, requested, world, console=console, title=title)


def _process_group(train: TrainConfig) -> AbstractContextManager[World]:
    return process_group(train, gpu=detect_hardware(train.accelerator).has_gpu)


def _begin(
    requested: Config,
    world: World,
    *,
    console: Console,
    title: str,
    begin: float,
    overwrite: bool,
) -> PretrainResult:
    """Resolve the configuration of a new run, write its folder, and train."""
    with held_messages() as opening:
        source = training_source(requested.data)
    requested = _on_devices(requested, world)
    resolved, notes = resolve_config(
        requested, source, detect_hardware(requested.train.accelerator)
    )
    OPTIMIZERS.check(resolved.optim.name, [], 0.0, resolved.optim)
    layout = resolve_layout(resolved.views)
    method = make_method(
        resolved, layout
    )  # raises for what does not fit before anything is written
    if resolved.data.val:
        validation_source(resolved.data)
    folder = (
        RunFolder.new(requested.out, overwrite=overwrite)
        if requested.out
        else RunFolder.free(requested.recipe or source.name)
    )
    with folder.lock(), logging_to(folder.log, console, earlier=opening):
        views = with_policies(resolved.views, folder.copy_policies)
        resolved = replace(resolved, out=str(folder.path), views=views)
        log_config(resolved, source, notes, layout=layout)
        for warning in sanity_warnings(resolved, source, layout=layout):
            logger.warning("%-8s %s", "warning", warning)
        write_json(folder.data, describe_source(source))
        if start := describe_start(resolved, method):
            write_json(folder.start, start)
        source = cache_in_memory(source, resolved)
        maker = make_run_views(resolved)
        resolved = _resolve_stem(resolved, method)
        measure = make_probe(resolved, source, world)
        _draw_sheet(folder, source, maker)
        budget = None
        if resolved.train.time_budget is not None:
            budget = TimeBudget(seconds=resolved.train.time_budget, begin=begin)
            resolved, budget = plan_steps(
                resolved, method, source, maker, world=world, budget=budget, measure=measure
            )
        for warning in length_warnings(resolved, len(source)):
            logger.warning("%-8s %s", "warning", warning)
        save_config(folder, resolved)
        run = Run(config=resolved, source=source, checkpoint=None, world=world, measure=measure)
        return _run_main(run, folder, console=console, title=title, budget=budget)


def _continue(
    folder: RunFolder, requested: Config, world: World, *, console: Console, title: str
) -> PretrainResult:
    """Continue a run from its last checkpoint, or from its start if it has none."""
    before = load_config(folder.config)
    config = resolve_resumed(before, _on_devices(requested, world))
    config = replace(config, out=str(folder.path))
    with held_messages() as opening:
        source = training_source(config.data)
    with folder.lock(), logging_to(folder.log, console, earlier=opening):
        checkpoint = restore_point(folder, source)
        for flag, value in changed_fields(replace(before, out=config.out), config).items():
            logger.info("changed on resume: --%s %s", flag, value)
        # Open everything that may be missing before the folder is changed.
        measure = make_probe(config, source, world)
        save_config(folder, config)
        source = cache_in_memory(source, config)
        _draw_sheet(folder, source, make_run_views(config))
        run = Run(config=config, source=source, checkpoint=checkpoint, world=world, measure=measure)
        return _run_main(run, folder, console=console, title=title)


def _draw_sheet(folder: RunFolder, source: Source, maker: ViewMaker) -> None:
    """Draw the first images, unless a resumed run has their sheet, whole."""
    try:
        read_picture(folder.views)
    except (OSError, ValueError, SyntaxError):  # missing or damaged, as Pillow says it
        with drawn_again(folder.views.name):
            rows = sheet_rows(source, maker, count=_SHEET_ROWS)
            save_sheet(rows, folder.views, command="pretrain")


def _on_devices(config: Config, world: World) -> Config:
    """Return the configuration with the devices and machines in use."""
    return replace(config, train=replace(config.train, devices=world.local_size, nodes=world.nodes))


def _resolve_stem(config: Config, method: Method) -> Config:
    """Return the configuration with the stem that ``auto`` resolved to, and log it."""
    used = str(method.backbone.stem_used)
    if config.model.stem == "auto":
        logger.info("%-8s --model.stem %s: for views of %s px", "selected", used, config.views.size)
    return replace(config, model=replace(config.model, stem=used))


def _run_main(
    run: Run,
    folder: RunFolder,
    *,
    console: Console,
    title: str,
    budget: TimeBudget | None = None,
) -> PretrainResult:
    """Run one session as the main process."""
    run.world.broadcast((run.config, run.checkpoint))
    check_same_images(run.world, run.source)
    loggers = Loggers(run.config, folder)
    main = MainProcess(folder=folder, loggers=loggers, console=console, title=title, budget=budget)
    try:
        if run.checkpoint is None and folder.views.is_file():
            with drawn_again(folder.views.name):
                loggers.picture("views", read_picture(folder.views), 0)
        session, _ = run_session(run, main)
    except BaseException:
        loggers.close("failed")
        logger.info("%s", resume_hint(folder))
        raise
    if budget is not None:
        logger.info("took %.1f s of its time budget of %.0f s", budget.used, budget.seconds)
    if session.stopped_by == TIME_LIMIT_SIGNAL:
        requeue()
    return PretrainResult(folder.path, run.config, session)
