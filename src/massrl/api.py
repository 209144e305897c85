"""Where all parts meet: one function for each thing a user does, in Python and on the command line."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import nn

from massrl.checkpoint import write_json, write_text
from massrl.config import Config
from massrl.config_files import config_text, load_config, read_layers
from massrl.configure import make, make_config
from massrl.data.cache import CachedSource
from massrl.data.catalogue import holds
from massrl.data.check import CheckReport, check_source
from massrl.data.pack import Recoding, pack
from massrl.data.sources import Source
from massrl.errors import ConfigError
from massrl.judging import (
    judge_backbone,
    make_probe,
)
from massrl.methods.base import Method
from massrl.options import (
    CheckConfig,
    EvaluateConfig,
    PackConfig,
    SheetConfig,
    StrengthsConfig,
)
from massrl.parts import (
    make_method,
    make_view_maker,
    open_images,
    sheet_rows,
    training_source,
)
from massrl.pretrained import save_trained
from massrl.run_folder import RunFolder
from massrl.run_log import TaskProgress, describe_source, logging_to, say_config
from massrl.seeing import save_strengths, save_views
from massrl.train.resolve import changed_fields, resolve_config, resolve_resumed, this_machine
from massrl.train.run import Sitting, plan_steps, restore_point, train
from massrl.view_maker import ViewMaker
from massrl.views.layouts import resolve_layout
from massrl.views.sheet import save_sheet

logger = logging.getLogger("massrl")

_SHEET_ROWS = 6


@dataclass(frozen=True)
class PretrainResult:
    """What ``pretrain`` gives back.

    Attributes:
        folder: the run folder.
        config: the resolved configuration.
        sitting: steps, seconds, and whether a signal stopped the run.
    """

    folder: Path
    config: Config
    sitting: Sitting


def pretrain(
    config: Config | dict[str, Any] | str | Path,
    *,
    console: Console | None = None,
    title: str = "pre-training",
) -> PretrainResult:
    """Pre-train a backbone without labels.

    Args:
        config: a ``Config``, nested mappings such as ``{"recipe": "default", "data": {"train":
            "photos"}}``, the path of a YAML file, or the name of a recipe.
        console: where progress is shown; the terminal by default.
        title: what progress calls the run.

    Raises:
        MassrlError: if something the user gave cannot be used.
    """
    wanted = config if isinstance(config, Config) else make_config(read_layers(config))
    if not wanted.data.train:
        raise ConfigError("no images to learn from: --data.train takes a folder, a list or a name")
    source = training_source(wanted.data)
    resolved, notes = resolve_config(wanted, source, this_machine(wanted.train.accelerator))
    method = make_method(resolved)  # refuses what does not fit before anything is written
    if holds(wanted.data.train, wanted.out or "runs"):
        raise ConfigError(
            f"the run folder {wanted.out or 'runs'} would lie among the images {wanted.data.train}, and "
            f"its pictures be learnt from: another --out is wanted"
        )
    folder = (
        RunFolder.new(wanted.out) if wanted.out else RunFolder.free(wanted.recipe or source.name)
    )
    console = console or Console(stderr=True)
    with folder.held(), logging_to(folder.log, console):
        policies = folder.keep_policies(resolved.views.policies or ())
        views = replace(resolved.views, policies=policies)
        resolved = replace(resolved, out=str(folder.path), views=views)
        say_config(resolved, source, notes)
        write_json(folder.data, describe_source(source))
        source = CachedSource(source) if resolved.data.cache == "memory" else source
        maker = _view_maker(resolved)
        resolved = _say_stem(resolved, method)
        if resolved.train.max_steps is None:
            resolved = plan_steps(resolved, method, source, maker)
        _save_config(folder, resolved)
        save_sheet(sheet_rows(source, maker, count=_SHEET_ROWS), folder.views)
        return _sit(resolved, folder, source, None, console=console, title=title)


def _view_maker(config: Config) -> ViewMaker:
    return make_view_maker(config.views, size=config.view_size, seed=config.train.seed)


def _say_stem(config: Config, method: Method) -> Config:
    """Which stem ``auto`` came to, said and kept."""
    used = str(method.backbone.stem_used)
    if config.model.stem == "auto":
        logger.info("%-8s --model.stem %s: for views of %s px", "chosen", used, config.views.size)
    return replace(config, model=replace(config.model, stem=used))


def resume(
    run: str | Path,
    config: Config | None = None,
    *,
    console: Console | None = None,
    title: str = "pre-training",
) -> PretrainResult:
    """Go on with a run from its last checkpoint, to the same weights as if it had never stopped.

    Args:
        run: the run folder.
        config: the run's own configuration with what is to be different from here on, such as where
            the images now lie; by default nothing is.
        console: where progress is shown; the terminal by default.
        title: what progress calls the run.

    Raises:
        CheckpointError: if the folder holds no run, or its data are no longer the same.
        ConfigError: if the configuration differs in what would make it another run.
    """
    folder = RunFolder.existing(run, flag="--resume")
    before = load_config(folder.config)
    config = replace(resolve_resumed(before, config or before), out=str(folder.path))
    source = training_source(config.data)
    console = console or Console(stderr=True)
    with folder.held(), logging_to(folder.log, console):
        checkpoint = restore_point(folder, source)
        for flag, value in changed_fields(replace(before, out=config.out), config).items():
            logger.info("from here on: --%s %s", flag, value)
        _save_config(folder, config)
        source = CachedSource(source) if config.data.cache == "memory" else source
        return _sit(config, folder, source, checkpoint, console=console, title=title)


def _save_config(folder: RunFolder, config: Config) -> None:
    rate = f"{config.scaled_lr:g} = optim.lr × data.batch_size / 256"
    views = replace(config.views, policies=folder.portable(config.views.policies or ()))
    text = config_text(replace(config, views=views))
    write_text(folder.config, f"# peak learning rate in use: {rate}\n{text}")


def _sit(
    config: Config,
    folder: RunFolder,
    source: Source,
    checkpoint: dict[str, Any] | None,
    *,
    console: Console,
    title: str,
) -> PretrainResult:
    """One sitting of a run, from its start or from its checkpoint; leaves the weights and the page."""
    from massrl.run_report import report_run

    method = make_method(config)
    sitting = train(
        config,
        method,
        source,
        _view_maker(config),
        folder=folder,
        checkpoint=checkpoint,
        view_names=resolve_layout(config.views).view_names(),
        console=console,
        measure=make_probe(config, source),
        title=title,
    )
    save_trained(folder.backbone, method.backbone, config, step=sitting.step)
    report_run(folder)
    return PretrainResult(folder.path, config, sitting)


def evaluate(
    backbone: str | Path | nn.Module,
    config: EvaluateConfig | dict[str, Any] | None = None,
    *,
    console: Console | None = None,
) -> dict[str, Any]:
    """Judge a backbone on labelled images.

    Args:
        backbone: a run folder, a ``.safetensors`` file, or what ``load_backbone`` gave.
        config: tasks, data and settings; what is left out of the data is as in the run.
        console: where progress is shown; the terminal by default.

    Returns:
        The content of ``results.json``: a section for each task, and how the figures came about.
        It is written into the run folder or beside the file, or to ``config.out`` where it is set.

    Raises:
        MassrlError: if something the user gave cannot be used.
    """
    wanted = config if isinstance(config, EvaluateConfig) else make(EvaluateConfig, config or {})
    return judge_backbone(backbone, wanted, console=console or Console(stderr=True))


def draw_views(config: SheetConfig | dict[str, Any]) -> Path:
    """Draw what a layout does to images, or what a step of a run has seen; nothing is trained.

    Args:
        config: which images, which layout, where to.

    Returns:
        The path of the picture or page.
    """
    return save_views(config if isinstance(config, SheetConfig) else make(SheetConfig, config))


def draw_policy(config: StrengthsConfig | dict[str, Any]) -> Path:
    """Draw what a strategy does: each of its operations over the range of its numbers, on one image.

    Args:
        config: which strategy, which image, where to.

    Returns:
        The path of the picture.
    """
    wanted = config if isinstance(config, StrengthsConfig) else make(StrengthsConfig, config)
    return save_strengths(wanted)


def pack_data(
    config: PackConfig | dict[str, Any], *, console: Console | None = None
) -> tuple[int, int]:
    """Pack images into tar files with an index; ``--data.train 'OUT-*.tar'`` learns from them.

    Args:
        config: which images, where to, and whether they are made smaller.
        console: where progress is shown; the terminal by default.

    Returns:
        Images packed, and broken images left out.
    """
    wanted = config if isinstance(config, PackConfig) else make(PackConfig, config)
    source = open_images(wanted.images, root=wanted.root)
    recoding = Recoding(wanted.short_side, wanted.quality) if wanted.short_side else None
    with TaskProgress(console or Console(stderr=True)) as progress:
        return pack(
            source,
            Path(wanted.out).expanduser(),
            shard_bytes=wanted.shard_megabytes << 20,
            recoding=recoding,
            skip_broken=wanted.on_error == "skip",
            progress=partial(progress, "packing"),
        )


def check_data(
    config: CheckConfig | dict[str, Any] | str, *, console: Console | None = None
) -> CheckReport:
    """Decode every image of a source once and list what is broken.

    Args:
        config: which images; a text is short for their folder, list or name alone.
        console: where progress is shown; the terminal by default.
    """
    content = {"images": config} if isinstance(config, str) else config
    wanted = content if isinstance(content, CheckConfig) else make(CheckConfig, content)
    source = open_images(wanted.images, root=wanted.root, whole=True)
    with TaskProgress(console or Console(stderr=True)) as progress:
        return check_source(source, progress=lambda done, total: progress("checking", done, total))
