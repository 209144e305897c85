"""A pre-training run: from a configuration to a folder with trained weights, in one sitting or several."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import Any

from rich.console import Console
from torch import nn

from massrl.atomic import write_json
from massrl.config import Config, TrainConfig
from massrl.config_files import load_config
from massrl.data.cache import CachedSource
from massrl.data.catalogue import holds
from massrl.data.loader import steps_per_epoch
from massrl.data.sources import Source
from massrl.errors import ConfigError, DataError, MassrlError, NonFiniteError
from massrl.judging import make_probe, validation_source
from massrl.methods.base import Method
from massrl.parts import make_view_maker, sheet_rows, training_source
from massrl.pretrained import save_trained
from massrl.run_folder import RunFolder
from massrl.run_keeping import keep_plans, save_config, what_is_left, with_policies
from massrl.run_log import describe_source, logging_to, say_config
from massrl.run_report import report_run
from massrl.train.doubts import doubts
from massrl.train.launch import (
    connected,
    end_without,
    launched_place,
    requeue,
    started_again,
)
from massrl.train.loggers import Loggers, check_loggers
from massrl.train.networks import make_method, without_start
from massrl.train.resolve import changed_fields, resolve_config, resolve_resumed, this_machine
from massrl.train.run import Sitting, measure_steps, plan_steps, restore_point, train
from massrl.train.step_cost import StepCost
from massrl.view_maker import ViewMaker
from massrl.views.layouts import resolve_layout
from massrl.views.sheet import read_picture, save_sheet
from massrl.world import World

logger = logging.getLogger("massrl")

_SHEET_ROWS = 6
_MEASURED_STEPS = 20


@dataclass(frozen=True)
class PretrainResult:
    """What ``pretrain`` gives back.

    Attributes:
        folder: the run folder.
        config: the resolved configuration.
        sitting: steps, seconds, and whether a signal stopped the run.
        leads: whether this process wrote the folder; of a run's several processes one does.
    """

    folder: Path
    config: Config
    sitting: Sitting
    leads: bool = True


def start_run(wanted: Config, *, console: Console, title: str) -> PretrainResult:
    """Begin a run; see ``massrl.pretrain``."""
    if not wanted.data.train:
        raise ConfigError("no images to learn from: --data.train takes a folder, a list or a name")
    check_loggers(wanted.train.loggers)
    with _together(wanted.train) as world:
        if not world.leads:
            return follow(world)
        known = RunFolder(wanted.out)
        if wanted.out and started_again() and known.config.is_file():
            return _go_on(known, load_config(known.config), world, console=console, title=title)
        return _begin(wanted, world, console=console, title=title)


def resume_run(
    folder: RunFolder, config: Config | None, *, console: Console, title: str
) -> PretrainResult:
    """Go on with a run; see ``massrl.api.resume``."""
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
        if not world.leads:
            return follow(world)
        return _go_on(folder, wanted, world, console=console, title=title)


def join_run(*, gpu: bool, parent: int) -> None:
    """Take part in a run as the process of a further device; its place is in the environment."""
    Thread(target=end_without, args=(parent,), daemon=True).start()
    with connected(TrainConfig(), gpu=gpu) as world:
        follow(world)


def follow(world: World) -> PretrainResult:
    """Take part in a run that another process leads."""
    logger.disabled = True  # what is to be said, the other one says
    try:
        config, checkpoint = world.share()
        try:
            source = training_source(config.data)
        except MassrlError as error:
            world.collect(("", str(error)))
            raise
        _same_images(world, source)
        source = _kept(source, config)
        measure = make_probe(config, source, world)
        sitting, _ = _learn(config, source, checkpoint, world, None, measure=measure)
        return PretrainResult(Path(config.out), config, sitting, leads=False)
    finally:
        logger.disabled = False


@contextmanager
def _together(train: TrainConfig) -> Iterator[World]:
    with connected(train, gpu=this_machine(train.accelerator).has_gpu) as world:
        yield world


def _begin(wanted: Config, world: World, *, console: Console, title: str) -> PretrainResult:
    source = training_source(wanted.data)
    devices = replace(wanted.train, devices=world.local_size, nodes=world.nodes)
    wanted = replace(wanted, train=devices)
    resolved, notes = resolve_config(wanted, source, this_machine(wanted.train.accelerator))
    method = make_method(resolved)  # refuses what does not fit before anything is written
    if resolved.data.val:
        validation_source(resolved.data)
    if holds(wanted.data.train, wanted.out or "runs"):
        raise ConfigError(
            f"the run folder {wanted.out or 'runs'} would lie among the images {wanted.data.train}, and "
            f"its pictures be learnt from: another --out is wanted"
        )
    folder = (
        RunFolder.new(wanted.out) if wanted.out else RunFolder.free(wanted.recipe or source.name)
    )
    with folder.held(), logging_to(folder.log, console):
        views = with_policies(resolved.views, folder.keep_policies)
        resolved = replace(resolved, out=str(folder.path), views=views)
        say_config(resolved, source, notes)
        for doubt in doubts(resolved, source):
            logger.warning("%-8s %s", "doubtful", doubt)
        write_json(folder.data, describe_source(source))
        source = _kept(source, resolved)
        maker = _view_maker(resolved)
        resolved = _say_stem(resolved, method)
        if resolved.train.max_steps is None:
            resolved = plan_steps(resolved, method, source, maker, world=world)
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
    with folder.held(), logging_to(folder.log, console):
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


def _same_images(world: World, source: Source) -> None:
    """Refuse a run whose processes would learn from different images."""
    found = world.collect((source.fingerprint(), None))
    for rank, (_, problem) in enumerate(found):
        if problem is not None:
            raise DataError(f"process {rank}: {problem}")
    if len(set(found)) > 1:
        raise DataError(
            f"{source.name} is not the same for all {world.size} processes (names, sizes or labels "
            f"differ from one machine to another)"
        )


def cost_of_steps(wanted: Config) -> StepCost:
    """Measure a few steps of a run that is not begun; see ``massrl.measure_step``."""
    if not wanted.data.train:
        raise ConfigError("no images to learn from: --data.train takes a folder, a list or a name")
    if wanted.train.num_devices > 1:
        raise ConfigError(
            "a step is measured on one device: --train.devices 1, and a --data.batch_size of its share"
        )
    source = training_source(wanted.data)
    resolved, _ = resolve_config(wanted, source, this_machine(wanted.train.accelerator))
    steps = resolved.train.max_steps if wanted.train.max_steps else _MEASURED_STEPS
    resolved = replace(resolved, train=replace(resolved.train, max_steps=steps))
    source = _kept(source, resolved)
    return measure_steps(resolved, make_method(resolved), source, _view_maker(resolved))


def _kept(source: Source, config: Config) -> Source:
    """The images decoded and in memory, where the configuration says so."""
    in_memory = config.data.cache == "memory"
    return CachedSource(source, view_size=config.view_size) if in_memory else source


def _view_maker(config: Config) -> ViewMaker:
    return make_view_maker(config.views, size=config.view_size, seed=config.train.seed)


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
    world.share((config, checkpoint))
    _same_images(world, source)
    loggers = Loggers(config, folder)
    try:
        if checkpoint is None and folder.views.is_file():
            loggers.picture("views", read_picture(folder.views), 0)
        sitting, method = _learn(
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
        save_trained(folder.backbone, method.backbone, config, step=sitting.step)
        report_run(folder)
        if folder.matrix_picture.is_file():
            loggers.picture("loss of every pair", read_picture(folder.matrix_picture), sitting.step)
    except BaseException:
        loggers.close("failed")
        logger.info("%s", what_is_left(folder))
        raise
    loggers.close("success")
    if sitting.stopped_by == "SIGUSR1":
        requeue()
    return PretrainResult(folder.path, config, sitting)


def _learn(
    config: Config,
    source: Source,
    checkpoint: dict[str, Any] | None,
    world: World,
    folder: RunFolder | None,
    *,
    measure: Callable[[nn.Module], float] | None,
    loggers: Loggers | None = None,
    console: Console | None = None,
    title: str = "",
) -> tuple[Sitting, Method]:
    started = config if checkpoint is None else without_start(config)
    method, maker = make_method(started), _view_maker(config)
    try:
        sitting = train(
            config,
            method,
            source,
            maker,
            world=world,
            folder=folder,
            checkpoint=checkpoint,
            view_names=resolve_layout(config.views).view_names(),
            console=console or Console(quiet=True),
            measure=measure,
            loggers=loggers,
            title=title,
        )
    except NonFiniteError as error:
        if folder is not None:
            epoch = error.step // steps_per_epoch(len(source), config.batch_size)
            keep_plans(error, folder, source, maker, epoch=epoch)
        raise
    return sitting, method
