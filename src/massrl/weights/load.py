"""Load a backbone from a run folder, a file of any project, or another library."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from torch import Tensor, nn

from massrl.config.pretrain import Config
from massrl.errors import CheckpointError, ConfigError
from massrl.models.backbones import is_users_code, seeded_backbone
from massrl.models.sizes import ViewSide, check_named_sides, patch_side
from massrl.models.timm_networks import timm_side
from massrl.runs.folder import RunFolder
from massrl.weights.backbone_file import backbone_about, load_backbone_file, save_backbone
from massrl.weights.foreign import ImportedBackbone, take_backbone
from massrl.weights.libraries import is_library_name, load_library_backbone
from massrl.weights.safe_reader import read_weights

logger = logging.getLogger("massrl")

_DEFAULT_SIDE = {"standard": 224, "small": 32}  # pixels, by stem, for files that do not say it


def save_trained(path: Path, backbone: nn.Module, *, config: Config, step: int) -> None:
    """Save the backbone of a run.

    Args:
        path: the ``.safetensors`` file.
        backbone: the network.
        config: the run's resolved configuration.
        step: optimiser steps it was trained for.
    """
    assert config.data.mean is not None
    assert config.data.std is not None
    about = {
        "backbone": config.model.backbone,
        "stem": config.model.stem,
        "size": config.views.size,
        "mean": list(config.data.mean),
        "std": list(config.data.std),
        "seed": config.train.seed,
        "recipe": config.recipe,
        "step": step,
    }
    save_backbone(path, backbone.state_dict(), about=about)


def load_backbone(
    backbone: str | Path,
    *,
    random_init: bool = False,
    trust: bool = False,
    untrained: object = None,
) -> nn.Module:
    """Load a backbone, ready to compute features.

    Args:
        backbone: a run folder; a backbone file of massrl; a checkpoint of another project, in which the
            ResNet is found (``massrl import`` has options for it); or a network of a library with its
            published weights, such as ``torchvision:resnet50`` or ``timm:vit_small_patch16_224``.
        random_init: return the network with the random weights that its training started from, as a
            baseline.
        trust: whether a file may name ``module:function`` as its network, which is imported and
            called. Not needed for a run folder, whose configuration is the user's own.
        untrained: former name of ``random_init``; raises.

    Returns:
        A module in eval mode from float ``(B, 3, H, W)``, scaled to [0, 1] and normalised, to pooled
        features ``(B, D)``. Its attribute ``about`` says how images are prepared (``size`` in pixels,
        ``mean``, ``std``), the number of features (``num_features``) and where the weights come from.

    Raises:
        CheckpointError: if there is no backbone, or it is damaged.
        ConfigError: if a library has no such network.
    """
    if untrained is not None:
        raise ConfigError("load_backbone has no argument untrained any more: it is random_init now")
    if is_library_name(str(backbone)):
        loaded = load_library_backbone(str(backbone), random_init=random_init)
        return _ready(loaded.network, loaded.about)
    file = _backbone_file(Path(backbone))
    state, about = _read_file(file, trust=trust or Path(backbone).is_dir())
    _warn_of_unseen_pixels(file, about)
    network = random_backbone(about)
    if not random_init:
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(f"{file} does not fit {about['backbone']}: {reason}") from None
    return _ready(network, about)


def foreign_backbone(
    path: Path,
    *,
    backbone: str | None = None,
    stem: str | None = None,
    part: str | None = None,
    size: int | None = None,
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
) -> tuple[ImportedBackbone, dict[str, Any]]:
    """Extract the backbone from another project's file.

    Args:
        path: the file.
        backbone: name of its network; searched for among the ResNets when left out.
        stem: its first layers; searched for likewise.
        part: the key prefix to take, where there are several networks.
        size: side of the images it is for, pixels; 224, or 32 with a small stem, when left out.
        mean: channel means its images are normalised by, in [0, 1]; ImageNet's when left out.
        std: standard deviations, likewise.

    Returns:
        The weights with an account of everything in the file, and the description ``about``.

    Raises:
        CheckpointError: if there is no backbone in it.
    """
    from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

    if backbone and size and not is_users_code(backbone):
        check_named_sides(backbone, [ViewSide(size, "--size")])
    weights, side = read_weights(path), size or _DEFAULT_SIDE["standard"]
    wanted: Any = {"where": str(path), "backbone": backbone, "stem": stem, "part": part}
    try:
        imported = take_backbone(weights, **wanted, image_side=side)
    except CheckpointError:
        own = timm_side(backbone or "")
        if own is None or own == side:
            raise
        take_backbone(weights, **wanted, image_side=own)  # raises if that is not why
        raise CheckpointError(
            f"{path} holds {backbone} for images of {own} px, not of {side}: --size {own}"
        ) from None
    about = {
        "backbone": imported.part.backbone,
        "stem": imported.part.stem,
        "size": size or _DEFAULT_SIDE.get(imported.part.stem, _DEFAULT_SIDE["small"]),
        "mean": list(mean or IMAGENET_DEFAULT_MEAN),
        "std": list(std or IMAGENET_DEFAULT_STD),
        "seed": 0,
        "recipe": "",
        "step": None,
        "source": path.name,
        "part": imported.part.name,
    }
    return imported, about


def random_backbone(about: Mapping[str, Any]) -> nn.Module:
    """Build the network of a description with the random weights that its training started from."""
    with torch.random.fork_rng(devices=[]):
        return seeded_backbone(
            about["backbone"], stem=about["stem"], image_side=about["size"], seed=about["seed"]
        )


def _backbone_file(path: Path) -> Path:
    """Return the weights file of a run folder; any other path as it is."""
    if not path.is_dir():
        return path
    file = RunFolder.existing(path, flag="BACKBONE").backbone
    if not file.is_file():
        raise CheckpointError(
            f"{path} has no {file.name} yet, since its run is not complete: "
            f"massrl pretrain --resume {quote(str(path))} completes it"
        )
    return file


def _read_file(file: Path, *, trust: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the weights in a file of massrl or of another project, and their description."""
    if file.is_file() and backbone_about(file) is None:
        imported, about = foreign_backbone(file)
        logger.warning(
            "%s was not written by massrl: its images are prepared as for ImageNet, %d px; "
            "massrl import %s with --size, --mean and --std changes that",
            file,
            about["size"],
            quote(str(file)),
        )
        for line in imported.lines():
            logger.info("%s", line)
        return imported.state, about
    state, about = load_backbone_file(file)
    if is_users_code(about["backbone"]) and not trust:
        raise CheckpointError(
            f"{file} names {about['backbone']}, code of yours that would be run: load its run "
            f"folder, or pass load_backbone(…, trust=True)"
        )
    return state, about


def _warn_of_unseen_pixels(file: Path, about: Mapping[str, Any]) -> None:
    """Say where an older run's images are no multiple of its network's patches: new ones are refused."""
    patch = patch_side(about["backbone"])
    if about["size"] % patch:
        logger.warning(
            "%s is for images of %d px, in patches of %d px: it does not see the last %d rows and columns",
            file,
            about["size"],
            patch,
            about["size"] % patch,
        )


def _ready(network: nn.Module, about: dict[str, Any]) -> nn.Module:
    network.about = {**about, "num_features": int(network.num_features)}  # type: ignore
    return network.eval()
