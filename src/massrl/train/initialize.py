"""Build a run's objective and networks, from seeded weights or with ``--init-from``."""

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
from massrl.models.sizes import ViewSide
from massrl.runs.folder import RunFolder
from massrl.train.checkpoint import load_checkpoint
from massrl.train.dry_run import check_backbone
from massrl.views.layouts import Layout
from massrl.weights.backbone_file import load_backbone_file

logger = logging.getLogger("massrl")


def make_method(config: Config, layout: Layout, *, check: bool = True) -> Method:
    """Return the objective of a resolved configuration, with its initial weights.

    Args:
        config: a resolved configuration.
        layout: of its views.
        check: whether to try the backbone first, on views of every size; see ``check_backbone``.

    Raises:
        ConfigError: if its parts do not fit together, or the backbone could not be used to the run's end.
        CheckpointError: if the weights of ``model.init_from`` cannot be read, or do not fit the backbone.
    """
    if layout.local_crops and config.method.batch_norm == "joint":
        raise ConfigError(
            "--views.local_crops makes views of another size, which --method.batch_norm joint cannot batch "
            "together with the others: use --method.batch_norm per-view"
        )
    if check:
        check_backbone(
            config.model.backbone or "",
            stem=config.model.stem,
            sides=view_sides(config.view_size, layout),
            device="cuda" if config.train.accelerator == "gpu" else "cpu",
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
        _load_initial_weights(Path(config.model.init_from), method)
    return method


def view_sides(size: int, layout: Layout) -> list[ViewSide]:
    """Return the sizes of a layout's views, that of the whole ones first, with the flags that set them."""
    sides = layout.sides(size)
    return [ViewSide(size)] + [
        ViewSide(
            side,
            "--views.local_size",
            lambda other: local_size(other, size),
            otherwise="--views.local_crops 0, --model.backbone",
        )
        for side in dict.fromkeys(sides)
        if side != size
    ]


def local_size(side: int, size: int) -> str:
    """Return the shortest ``--views.local_size`` for local views of this side, pixels, in the whole ones'.

    Example:
        >>> local_size(96, 224)
        '0.43'
    """
    texts = (f"{side / size:.{digits}g}" for digits in range(1, 17))
    return next(text for text in texts if round(float(text) * size) == side)


def drop_init_from(config: Config) -> Config:
    """Return the configuration without ``init_from``: a resumed run loads its checkpoint instead."""
    return replace(config, model=replace(config.model, init_from=None))


def _load_initial_weights(path: Path, method: Method) -> None:
    """Load all networks of a run that fit, or the backbone of a backbone file.

    The target starts as a copy of the online network, as in every new run.
    """
    weights = _load_weights(path)
    loaded, random = [], []
    for name, network in method.named_children():
        if name.startswith("target"):
            continue
        own = {
            key.removeprefix(f"{name}."): item
            for key, item in weights.items()
            if key.startswith(f"{name}.")
        }
        shapes = {key: item.shape for key, item in network.state_dict().items()}
        if {key: item.shape for key, item in own.items()} == shapes:
            network.load_state_dict(own)
            loaded.append(name)
        elif name == "backbone":
            backbone, stem = backbone_of_weights(path)
            raise CheckpointError(
                f"{path} holds weights of another backbone: use --model.backbone {backbone} "
                f"--model.stem {stem}"
            )
        else:
            random.append(name)
    for name, parameter in method.own_parameters().items():
        if name in weights and weights[name].shape == parameter.shape:
            parameter.data.copy_(weights[name])
            loaded.append(name)
        else:
            random.append(name)
    method.reset_target()
    rest = f"; {', '.join(random)} with random weights" if random else ""
    logger.info("%-8s %s from %s%s", "weights", ", ".join(loaded), path, rest)


def backbone_of_weights(path: Path) -> tuple[str, str]:
    """Return name and stem of the backbone of a run or of a backbone file.

    Raises:
        CheckpointError: if there is neither at this path.
    """
    if path.is_dir():
        model = load_config(RunFolder.existing(path, flag="--init-from").config).model
        return str(model.backbone), model.stem
    _, about = load_backbone_file(path)
    return about["backbone"], about["stem"]


def _load_weights(path: Path) -> dict[str, Tensor]:
    """Return the weights by name, as in ``Method.state_dict``; a backbone file has the backbone's only."""
    if path.is_dir():
        folder = RunFolder.existing(path, flag="--init-from")
        if folder.checkpoint.is_file():
            weights: dict[str, Tensor] = load_checkpoint(folder.checkpoint)["method"]
            return weights
        path = folder.backbone
    state, _ = load_backbone_file(path)
    return {f"backbone.{name}": item for name, item in state.items()}
