"""The objective of a run with its networks."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from massrl.config.files import load_config
from massrl.config.pretrain import Config
from massrl.errors import CheckpointError, ConfigError
from massrl.methods.base import Method
from massrl.methods.build import build_method
from massrl.runs.folder import RunFolder
from massrl.train.checkpoint import load_checkpoint
from massrl.views.layouts import resolve_layout
from massrl.weights.backbone_file import load_backbone_file

logger = logging.getLogger("massrl")


def make_method(config: Config) -> Method:
    """The objective of a resolved configuration, with its networks as the run starts with them.

    Raises:
        ConfigError: if the parts do not fit.
        CheckpointError: if weights to start from cannot be read, or are not the backbone's.
    """
    layout = resolve_layout(config.views)
    if layout.local_crops and config.method.batch_norm == "joint":
        raise ConfigError(
            "--views.local_crops makes views of another size, which --method.batch_norm joint cannot take "
            "together with the others: per-view fits it"
        )
    method = build_method(
        config.method,
        config.model,
        views=layout.view_specs(),
        image_side=config.view_size,
        seed=config.train.seed,
        memory=config.train.memory or "joint",
    )
    if config.model.init_from:
        _start_from(Path(config.model.init_from), method)
    return method


def drop_init_from(config: Config) -> Config:
    """The configuration of a run that goes on: its checkpoint has the weights, whatever it began with."""
    return replace(config, model=replace(config.model, init_from=None))


def _start_from(path: Path, method: Method) -> None:
    """Take over weights: of a run all networks that fit, of a backbone's file the backbone alone.

    The target begins as a copy of the online network, as in any run.
    """
    state = _weights(path)
    taken, left = [], []
    for name, network in method.named_children():
        if name.startswith("target"):
            continue
        own = {
            key.removeprefix(f"{name}."): item
            for key, item in state.items()
            if key.startswith(f"{name}.")
        }
        shapes = {key: item.shape for key, item in network.state_dict().items()}
        if {key: item.shape for key, item in own.items()} == shapes:
            network.load_state_dict(own)
            taken.append(name)
        elif name == "backbone":
            backbone, stem = backbone_of_weights(path)
            raise CheckpointError(
                f"{path} holds weights of another network: --model.backbone {backbone} --model.stem {stem} "
                f"is theirs"
            )
        else:
            left.append(name)
    method.reset_target()
    rest = f"; {', '.join(left)} start{'s' * (len(left) == 1)} anew" if left else ""
    logger.info("%-8s %s from %s%s", "weights", ", ".join(taken), path, rest)


def backbone_of_weights(path: Path) -> tuple[str, str]:
    """Name and stem of the backbone that a run, or a backbone's file, has weights of.

    Raises:
        CheckpointError: if there are none.
    """
    if path.is_dir():
        model = load_config(RunFolder.existing(path, flag="--init-from").config).model
        return str(model.backbone), model.stem
    _, about = load_backbone_file(path)
    return about["backbone"], about["stem"]


def _weights(path: Path) -> dict[str, Tensor]:
    if path.is_dir():
        folder = RunFolder.existing(path, flag="--init-from")
        if folder.checkpoint.is_file():
            weights: dict[str, Tensor] = load_checkpoint(folder.checkpoint)["method"]
            return weights
        path = folder.backbone
    state, _ = load_backbone_file(path)
    return {f"backbone.{name}": item for name, item in state.items()}
