"""A pre-training run: from a configuration to a folder with trained weights, in one sitting or several."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from rich.console import Console
from torch import nn

from massrl.config.files import load_config
from massrl.config.pretrain import Config, TrainConfig
from massrl.data.build import training_source
from massrl.data.catalogue import contains
from massrl.data.source import Source, describe_source
from massrl.distributed import World
from massrl.errors import ConfigError
from massrl.evaluation.data import validation_source
from massrl.evaluation.online_knn import make_probe
from massrl.files import write_json
from massrl.images.pictures import read_picture
from massrl.methods.base import Method
from massrl.report.run_page import report_run
from massrl.runs.environment import detect_hardware
from massrl.runs.folder import RunFolder, resume_hint, save_config, with_policies
from massrl.runs.log import logging_to
from massrl.train.checkpoint import restore_point
from massrl.train.initialize import make_method
from massrl.train.launch import launched_place, process_group, requeue, started_again
from massrl.train.loggers import Loggers, check_loggers
from massrl.train.resolve import changed_fields, resolve_config, resolve_resumed
from massrl.train.session import PretrainResult, _kept, _learn, _same_images, _view_maker
from massrl.train.startup import log_config, sanity_warnings
from massrl.train.timing import estimate_max_steps
from massrl.train.workers import run_worker
from massrl.views.drawing.contact_sheet import save_sheet, sheet_rows
from massrl.weights.load import save_trained

logger = logging.getLogger("massrl")

_SHEET_ROWS = 6


def start_run(wanted: Config, *, console: Console, title: str) -> PretrainResult:
    """Begin a run; see ``massrl.pretrain``."""
    if not wanted.data.train:
        raise ConfigError("no images to learn from: --data.train takes a folder, a list or a name")
    check_loggers(wanted.train.loggers)
    with _together(wanted.train) as world:
        if not world.is_main:
            return run_worker(world)
        known = RunFolder(wanted.out)
        if wanted.out and started_again() and known.config.is_file():
            return _go_on(known, load_config(known.config), world, console=console, title=title)
        return _begin(wanted, world, console=console, title=title)


def resume_run(
    folder: RunFolder, config: Config | None, *, console: Console, title: str
) -> PretrainResult:
    """Go on with a run; see ``massrl.resume``."""
    before = load_config(folder.config)
    wanted = config or before
    check_loggers(wanted.train.loggers)
    devices, nodes = (
        None
        if launched_place() and asked == had
        else asked  # the launcher's, unless asked for anew
        for asked, had in (
            (wanted.train.devices, before.train.devices),
            (wanted.train.nodes, before.train.nodes),
        )
    )
    with _together(replace(wanted.train, devices=devices, nodes=nodes)) as world:
        if not world.is_main:
            return run_worker(world)
        return _go_on(folder, wanted, world, console=console, title=title)


@contextmanager
def _together(train: TrainConfig) -> Iterator[World]:
    with process_group(train, gpu=detect_hardware(train.accelerator).has_gpu) as world:
        yield world


def _begin(wanted: Config, world: World, *, console: Console, title: str) -> PretrainResult:
    source = training_source(wanted.data)
    devices = replace(wanted.train, devices=world.local_size, nodes=world.nodes)
    wanted = replace(wanted, train=devices)
    resolved, notes = resolve_config(wanted, source, detect_hardware(wanted.train.accelerator))
    method = make_method(resolved)  # refuses what does not fit before anything is written
    if resolved.data.val:
        validation_source(resolved.data)
    if contains(wanted.data.train, wanted.out or "runs"):
        raise ConfigError(
            f"the run folder {wanted.out or 'runs'} would lie among the images {wanted.data.train}, and "
            f"its pictures be learnt from: another --out is wanted"
        )
    folder = (
        RunFolder.new(wanted.out) if wanted.out else RunFolder.free(wanted.recipe or source.name)
    )
    with folder.lock(), logging_to(folder.log, console):
        views = with_policies(resolved.views, folder.copy_policies)
        resolved = replace(resolved, out=str(folder.path), views=views)
        log_config(resolved, source, notes)
        for warning in sanity_warnings(resolved, source):
            logger.warning("%-8s %s", "doubtful", warning)
        write_json(folder.data, describe_source(source))
        source = _kept(source, resolved)
        maker = _view_maker(resolved)
        resolved = _say_stem(resolved, method)
        if resolved.train.max_steps is None:
            resolved = estimate_max_steps(resolved, method, source, maker, world=world)
        measure = make_probe(resolved, source, world)
        save_config(folder, resolved)
        save_sheet(sheet_rows(source, maker, count=_SHEET_ROWS), folder.views)
        return _lead(
            resolved, folder, source, None, world, measure=measure, console=console, title=title
        )


def _go_on(
    folder: RunFolder, wanted: Config, world: World, *, console: Console, title: str
) -> PretrainResult:
    before = load_config(folder.config)
    devices = replace(wanted.train, devices=world.local_size, nodes=world.nodes)
    config = replace(resolve_resumed(before, replace(wanted, train=devices)), out=str(folder.path))
    source = training_source(config.data)
    with folder.lock(), logging_to(folder.log, console):
        checkpoint = restore_point(folder, source)
        for flag, value in changed_fields(replace(before, out=config.out), config).items():
            logger.info("from here on: --%s %s", flag, value)
        # All that is to be opened is open before anything is kept.
        measure = make_probe(config, source, world)
        save_config(folder, config)
        source = _kept(source, config)
        return _lead(
            config, folder, source, checkpoint, world, measure=measure, console=console, title=title
        )


def _say_stem(config: Config, method: Method) -> Config:
    """Which stem ``auto`` came to, said and kept."""
    used = str(method.backbone.stem_used)
    if config.model.stem == "auto":
        logger.info("%-8s --model.stem %s: for views of %s px", "chosen", used, config.views.size)
    return replace(config, model=replace(config.model, stem=used))


def _lead(
    config: Config,
    folder: RunFolder,
    source: Source,
    checkpoint: dict[str, Any] | None,
    world: World,
    *,
    measure: Callable[[nn.Module], float] | None,
    console: Console,
    title: str,
) -> PretrainResult:
    """One sitting of a run, from its start or from its checkpoint; leaves the weights and the page."""
    world.broadcast((config, checkpoint))
    _same_images(world, source)
    loggers = Loggers(config, folder)
    try:
        if checkpoint is None and folder.views.is_file():
            loggers.picture("views", read_picture(folder.views), 0)
        session, method = _learn(
            config,
            source,
            checkpoint,
            world,
            folder,
            measure=measure,
            loggers=loggers,
            console=console,
            title=title,
        )
        save_trained(folder.backbone, method.backbone, config=config, step=session.step)
        report_run(folder)
        if folder.matrix_picture.is_file():
            loggers.picture("loss of every pair", read_picture(folder.matrix_picture), session.step)
    except BaseException:
        loggers.close("failed")
        logger.info("%s", resume_hint(folder))
        raise
    loggers.close("success")
    if session.stopped_by == "SIGUSR1":
        requeue()
    return PretrainResult(folder.path, config, session)
