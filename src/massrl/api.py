"""Where all parts meet: one function for each thing a user does, in Python and on the command line."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from massrl.config import Config
from massrl.config_files import read_layers
from massrl.configure import make, make_config
from massrl.data.check import CheckReport, check_source
from massrl.data.folders import has_validation_part
from massrl.data.pack import Recoding, pack
from massrl.errors import ConfigError
from massrl.evaluate_options import CompareConfig, EvaluateConfig
from massrl.options import (
    CheckConfig,
    ExportConfig,
    ImportConfig,
    PackConfig,
    SheetConfig,
    StrengthsConfig,
    ViewCostConfig,
)
from massrl.parts import make_view_maker, open_images
from massrl.run_folder import RunFolder
from massrl.run_log import TaskProgress
from massrl.seeing import save_strengths, save_views
from massrl.view_cost import ViewCost, view_cost

if (
    TYPE_CHECKING
):  # torch and Lightning take seconds to load, which looking at views need not wait for
    from torch import nn

    from massrl.comparing import Comparison
    from massrl.train.step_cost import StepCost
    from massrl.training import PretrainResult


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
    from massrl.training import start_run

    wanted = config if isinstance(config, Config) else make_config(read_layers(config))
    return start_run(wanted, console=console or Console(stderr=True), title=title)


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
    from massrl.training import resume_run

    folder = RunFolder.existing(run, flag="--resume")
    return resume_run(folder, config, console=console or Console(stderr=True), title=title)


def evaluate(
    backbone: str | Path | nn.Module,
    config: EvaluateConfig | dict[str, Any] | None = None,
    *,
    console: Console | None = None,
) -> dict[str, Any]:
    """Judge a backbone on labelled images.

    Args:
        backbone: whatever ``load_backbone`` takes, such as a run folder, a checkpoint of another project
            or ``timm:resnet50``; or what it gave.
        config: tasks, data and settings; what is left out of the data is as in the run.
        console: where progress is shown; the terminal by default.

    Returns:
        The content of ``results.json``: ``backbone``, ``run`` and ``tasks``, which has figures for each
        task with how they came about; those of earlier evaluations of the same weights among them. It
        is written into the run folder, or one beside the file, or ``config.out`` where it is set.

    Raises:
        MassrlError: if something the user gave cannot be used.
    """
    from massrl.evaluating import judge_backbone

    wanted = config if isinstance(config, EvaluateConfig) else make(EvaluateConfig, config or {})
    return judge_backbone(backbone, wanted, console=console or Console(stderr=True))


def compare(config: CompareConfig | dict[str, Any]) -> tuple[Path, Comparison]:
    """Put the figures of several backbones side by side, in one table and one page.

    Args:
        config: which folders, where to.

    Returns:
        The page, and what it shows.

    Raises:
        DataError: if a folder holds no figures.
    """
    from massrl.comparing import compare_folders

    wanted = config if isinstance(config, CompareConfig) else make(CompareConfig, config)
    return compare_folders(wanted)


def import_backbone(config: ImportConfig | dict[str, Any]) -> tuple[Path, list[str]]:
    """Take the backbone out of another project's file; nothing in the file is run.

    Args:
        config: which file, and what is known of its network.

    Returns:
        The file that was written, and an account of every weight, line by line.

    Raises:
        CheckpointError: if there is no backbone in it, or it would have to run code.
    """
    from massrl.exporting import import_file

    return import_file(config if isinstance(config, ImportConfig) else make(ImportConfig, config))


def export_backbone(config: ExportConfig | dict[str, Any]) -> tuple[Path, Path]:
    """Write a backbone as torchvision, timm, ONNX Runtime or massrl read it.

    Args:
        config: which backbone, which format, where to.

    Returns:
        The file, and the model card beside it.

    Raises:
        MassrlError: if the tool has no such network, or the backbone cannot be used.
    """
    from massrl.exporting import export_file

    return export_file(config if isinstance(config, ExportConfig) else make(ExportConfig, config))


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


def measure_views(config: ViewCostConfig | dict[str, Any]) -> ViewCost:
    """Measure what the views of a layout cost on this machine, of the user's own images.

    Args:
        config: which images, which layout.
    """
    wanted = config if isinstance(config, ViewCostConfig) else make(ViewCostConfig, config)
    source = open_images(wanted.images, root=wanted.root)
    from massrl.train.resolve import fitting_size, this_machine

    machine, views = this_machine(), wanted.views  # what is open is as in a run on this machine
    if views.executor == "auto":
        views = replace(views, executor="device" if machine.has_gpu else "cpu")
    size = views.size or fitting_size(source, machine)
    maker = make_view_maker(views, size=size, seed=0)
    return view_cost(source, maker, count=wanted.count, rounds=wanted.rounds)


def measure_step(config: Config | dict[str, Any] | str | Path) -> StepCost:
    """Measure what an optimiser step costs on this machine; nothing is kept.

    Args:
        config: as ``pretrain`` takes it; ``train.max_steps`` steps are measured, twenty by default.
    """
    from massrl.training import cost_of_steps

    wanted = config if isinstance(config, Config) else make_config(read_layers(config))
    return cost_of_steps(wanted)


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
    if not wanted.out.strip() or wanted.out.endswith(("/", ".")):
        raise ConfigError(
            f"OUT is {wanted.out!r}, but a folder and the beginning of a name, such as packed/photos, "
            "is wanted"
        )
    if has_validation_part(Path(wanted.images).expanduser()):
        raise ConfigError(
            f"{wanted.images} is divided into parts to learn from and to judge by: pack each of its folders "
            f"by itself, such as {wanted.images}/train"
        )
    source = open_images(wanted.images, root=wanted.root)
    quality = 95 if wanted.quality is None else wanted.quality
    recoding = Recoding(wanted.short_side, quality) if wanted.short_side else None
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
