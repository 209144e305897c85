"""One session of a run: train from a start or a checkpoint, and write what it leaves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from rich.console import Console
from torch import nn

from massrl.config.pretrain import Config
from massrl.data.loader import steps_per_epoch
from massrl.data.source import Source
from massrl.data.sources.cache import CachedSource
from massrl.distributed import World
from massrl.errors import DataError, NonFiniteError
from massrl.files import write_json
from massrl.methods.base import Method
from massrl.runs.folder import RunFolder
from massrl.train.initialize import drop_init_from, make_method
from massrl.train.loggers import Loggers
from massrl.train.loop import SessionResult, train
from massrl.views.build import make_view_maker
from massrl.views.layouts import resolve_layout
from massrl.views.view_maker import ViewMaker


def save_nonfinite_plans(
    error: NonFiniteError, folder: RunFolder, source: Source, maker: ViewMaker, *, epoch: int
) -> None:
    """Write down what was learnt from when the loss was no number, for ``massrl views --replay``."""
    plans = []
    for index in error.indices:
        height, width = maker.load(source.read(index), index=index).shape[:2]
        plan = maker.plan(epoch=epoch, index=index, height=height, width=width)
        plans.append({"image": source.describe(index), **plan.to_json()})
    about = {"step": error.step, "epoch": epoch, "loss": error.loss, "indices": error.indices}
    write_json(folder.non_finite, {**about, "plans": plans})
    logger.warning(
        "its images and views are kept in %s: massrl views --replay %s --step %d shows them",
        folder.non_finite.name,
        quote(str(folder.path)),
        error.step,
    )


logger = logging.getLogger("massrl")


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
    session: SessionResult
    is_main: bool = True


def _same_images(world: World, source: Source) -> None:
    """Refuse a run whose processes would learn from different images."""
    found = world.all_gather_object((source.fingerprint(), None))
    for rank, (_, problem) in enumerate(found):
        if problem is not None:
            raise DataError(f"process {rank}: {problem}")
    if len(set(found)) > 1:
        raise DataError(
            f"{source.name} is not the same for all {world.size} processes (names, sizes or labels "
            f"differ from one machine to another)"
        )


def _kept(source: Source, config: Config) -> Source:
    """The images decoded and in memory, where the configuration says so."""
    in_memory = config.data.cache == "memory"
    return CachedSource(source, view_size=config.view_size) if in_memory else source


def _view_maker(config: Config) -> ViewMaker:
    return make_view_maker(config.views, size=config.view_size, seed=config.train.seed)


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
) -> tuple[SessionResult, Method]:
    started = config if checkpoint is None else drop_init_from(config)
    method, maker = make_method(started), _view_maker(config)
    try:
        session = train(
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
            save_nonfinite_plans(error, folder, source, maker, epoch=epoch)
        raise
    return session, method
