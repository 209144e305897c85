"""Refuse wrong names and paths before torch and other packages that take seconds are imported.

Each function raises what the work itself would raise later on, or nothing; what only the data or the networks
tell, such as a damaged image, is found by the work. Options of the wrong type or out of range are refused
before, where the configuration is made.
"""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from massrl.config.evaluation import ALL, EvaluateConfig
from massrl.config.foreign import ForeignConfig
from massrl.config.pretrain import Config
from massrl.errors import ConfigError, DataError
from massrl.models.names import (
    check_backbone_name,
    check_library_name,
    is_library_name,
)
from massrl.registry.calls import parse_call

_ON_IMAGES = {"knn", "linear", "linear-sgd", "semi-supervised", "features", "detect", "segment"}
"""Tasks that need ``--data.train``; others may bring images of their own."""


def check_new_run(config: Config) -> None:
    """Check the images, views, network, weights and loggers of a run that is to be started.

    Raises:
        MassrlError: if one of them does not exist.
    """
    from massrl.runs.folder import weights_file
    from massrl.train.loggers import check_loggers
    from massrl.views.layouts import resolve_layout
    from massrl.weights.file_kinds import check_weights_file

    if not config.data.train:
        raise ConfigError("no training images: --data.train takes a folder, a list or a name")
    check_loggers(config.train.loggers)
    check_images(config.data.train, flag="--data.train")
    if config.data.val:
        check_images(config.data.val, flag="--data.val")
    _check_run_folder(config)
    resolve_layout(config.views)
    if config.model.backbone:
        check_backbone_name(config.model.backbone)
    if config.model.init_from:
        weights = config.model.init_from
        if is_library_name(weights):
            check_library_name(weights, flag="--init-from")
        else:
            path = Path(weights).expanduser()
            check_weights_file(weights_file(path, flag="--init-from", complete=False))


def _check_run_folder(config: Config) -> None:
    from massrl.data.catalogue import contains

    check_out_is_no_file(config.out)
    out = config.out or "runs"
    if contains(config.data.train, out):
        raise ConfigError(
            f"the run folder {out} is inside the images {config.data.train}, and its pictures would be "
            f"trained on: choose another --out"
        )


def check_out_is_no_file(out: str) -> None:
    """Check that a folder to write is no file.

    Raises:
        ConfigError: if it is one.
    """
    if out and Path(out).expanduser().is_file():
        raise ConfigError(f"--out {out} cannot be written to: it is a file; choose another folder")


def check_images(spec: str, *, flag: str) -> None:
    """Check that a spec names images, as far as that takes a moment."""
    from massrl.data.catalogue import check_spec
    from massrl.runs.log import held_messages

    with held_messages():  # they are logged when the images are opened
        check_spec(spec, split="val" if flag == "--data.val" else "train", flag=flag)


def check_backbone(backbone: str | Path, told: ForeignConfig) -> None:
    """Check that a backbone is there: a run with weights, a file of weights, or a library's name.

    Args:
        backbone: as for ``load_backbone``.
        told: what the user says of another project's file.

    Raises:
        MassrlError: if it is not.
    """
    from massrl.runs.folder import weights_file

    if is_library_name(str(backbone)):
        check_library_name(str(backbone))
    else:
        check_file(weights_file(Path(backbone), flag="BACKBONE"), told)


def check_file(path: Path, told: ForeignConfig) -> None:
    """Check that a file can be one of weights, and that the network which the user says it is exists."""
    from massrl.weights.file_kinds import check_weights_file

    if told.backbone:
        check_backbone_name(told.backbone)
    check_weights_file(path)


def check_evaluation(backbone: str | Path, options: EvaluateConfig) -> None:
    """Check a backbone and the images that it is to be evaluated on.

    Raises:
        MassrlError: if one of them does not exist, or no images are given.
    """
    check_backbone(backbone, options.model)
    check_out_is_no_file(options.out)
    data, sets = options.data, options.transfer.sets
    tasks = {parse_call(task, flag="--task").name for task in options.task}
    if ALL in tasks:  # what cannot be run is skipped and named
        return
    for spec, flag in ((data.train, "--data.train"), (data.val, "--data.val")):
        if spec is not None:
            check_images(spec, flag=flag)
    for spec in sets:
        check_images(spec, flag="--transfer.sets")
    if data.train is None and not Path(backbone).is_dir() and tasks & _ON_IMAGES:
        raise DataError(_no_images(backbone))
    if "transfer" in tasks and not sets:
        raise ConfigError(
            "--task transfer needs data sets: --transfer.sets takes names such as food101, and folders"
        )


def check_results(folder: str) -> None:
    """Check that a folder has results of an evaluation.

    Raises:
        DataError: if it has none.
    """
    if not any(Path(folder).expanduser().glob("results*.json")):
        raise DataError(f"{folder} has no results: massrl evaluate writes them")


def _no_images(backbone: str | Path) -> str:
    """Return the fault of an evaluation without images: a file tells of none, but its run may."""
    fault = "no labelled images to evaluate on: --data.train takes a folder or a name"
    run = Path(backbone).parent
    if Path(backbone).is_file() and (run / "config.yaml").is_file():
        fault += f"; massrl evaluate {quote(str(run))} evaluates its run on the run's own images"
    return fault
