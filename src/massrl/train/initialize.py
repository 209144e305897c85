"""Build a run's objective and networks, from seeded weights or with ``--init-from``."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from massrl.config.files import load_config
from massrl.config.pretrain import Config
from massrl.errors import CheckpointError, ConfigError
from massrl.files import read_json
from massrl.methods.base import Method
from massrl.methods.build import build_method
from massrl.models.names import is_library_name
from massrl.models.sizes import ViewSide
from massrl.runs.folder import RunFolder
from massrl.runs.provenance import start_of
from massrl.train.checkpoint import load_checkpoint
from massrl.train.dry_run import check_backbone
from massrl.views.layouts import Layout
from massrl.weights.backbone_file import load_backbone_file
from massrl.weights.libraries import library_network, load_library_backbone

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
        _load_initial_weights(config.model.init_from, method, config)
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


def _load_initial_weights(path: str, method: Method, config: Config) -> None:
    """Load all networks of a run that fit, or the backbone of a backbone file or a library.

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
            if (backbone, stem) == (config.model.backbone, str(method.backbone.stem_used)):
                size = about_weights(path)["size"]
                raise CheckpointError(
                    f"{path} holds weights for images of {size} px: use --views.size {size}"
                )
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


def backbone_of_weights(path: str | Path) -> tuple[str, str]:
    """Return name and stem of the backbone of a run, of a backbone file or of a library's name.

    Raises:
        CheckpointError: if there is none of these at this path.
    """
    if is_library_name(str(path)):
        return library_network(str(path)), "standard"
    if Path(path).is_dir():
        model = load_config(RunFolder.existing(path, flag="--init-from").config).model
        return str(model.backbone), model.stem
    about = about_weights(path)
    return about["backbone"], about["stem"]


def about_weights(path: str | Path) -> dict[str, Any]:
    """Return the description of the weights that a run starts from.

    Raises:
        CheckpointError: if there are none at this path.
    """
    if is_library_name(str(path)):
        return load_library_backbone(str(path)).about
    if not Path(path).is_dir():
        return load_backbone_file(Path(path))[1]
    folder = RunFolder.existing(path, flag="--init-from")
    if folder.backbone.is_file():
        return load_backbone_file(folder.backbone)[1]
    config = load_config(folder.config)
    about = {"recipe": config.recipe, "size": config.view_size}
    start = read_start(folder, config)
    return {**about, "start": start} if start else about


def read_start(folder: RunFolder, config: Config) -> dict[str, Any] | None:
    """Return the description of a run's initial weights, ``None`` for random ones.

    One of an older version did not record it: nothing is known of those weights but their name.
    """
    if folder.start.is_file():
        return read_json(folder.start, {"name": str})
    name = config.model.init_from
    return {"name": Path(name).name, "source": Path(name).name} if name else None


def describe_start(config: Config, method: Method) -> dict[str, Any] | None:
    """Return the description of the weights that a new run starts from, ``None`` for random ones."""
    path = config.model.init_from
    if not path:
        return None
    from massrl.evaluation.feature_cache import network_fingerprint  # a run starts without it

    name = path if is_library_name(path) else Path(path).name
    start = start_of(about_weights(path), name, method.backbone.state_dict())
    return {**start, "fingerprint": network_fingerprint(method.backbone)}


def _load_weights(path: str) -> dict[str, Tensor]:
    """Return the weights by name, as in ``Method.state_dict``; other files have the backbone's only."""
    if is_library_name(path):
        network = load_library_backbone(path).network
        return {f"backbone.{name}": item for name, item in network.state_dict().items()}
    file = Path(path)
    if file.is_dir():
        folder = RunFolder.existing(file, flag="--init-from")
        if folder.checkpoint.is_file():
            weights: dict[str, Tensor] = load_checkpoint(folder.checkpoint)["method"]
            return weights
        file = folder.backbone
    state, _ = load_backbone_file(file)
    return {f"backbone.{name}": item for name, item in state.items()}
