"""Load a backbone from a run folder, a file of any project, or another library."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from massrl.config.foreign import ForeignConfig
from massrl.config.parser import make
from massrl.config.pretrain import Config
from massrl.errors import CheckpointError, ConfigError
from massrl.models.backbones import seeded_backbone
from massrl.models.names import is_library_name, is_users_code
from massrl.models.sizes import ViewSide, check_named_sides, patch_side
from massrl.runs.folder import weights_file
from massrl.runs.provenance import weights_hash
from massrl.weights.account import ImportedBackbone
from massrl.weights.backbone_file import backbone_about, load_backbone_file, save_backbone
from massrl.weights.foreign import take_backbone
from massrl.weights.libraries import load_library_backbone
from massrl.weights.safe_reader import read_weights

logger = logging.getLogger("massrl")

_SMALL_SIDE = 32  # pixels, of images for a network with a small stem, for files that do not say it


def save_trained(
    path: Path,
    backbone: nn.Module,
    *,
    config: Config,
    step: int,
    start: dict[str, Any] | None = None,
) -> None:
    """Save the backbone of a run.

    Args:
        path: the ``.safetensors`` file.
        backbone: the network.
        config: the run's resolved configuration.
        step: optimiser steps it was trained for.
        start: description of the weights it started from; ``None`` for random ones.
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
    save_backbone(path, backbone.state_dict(), about=about | ({"start": start} if start else {}))


def load_backbone(
    backbone: str | Path,
    *,
    random_init: bool = False,
    trust: bool = False,
    model: ForeignConfig | dict[str, Any] | None = None,
    untrained: object = None,
) -> nn.Module:
    """Load a backbone, ready to compute features.

    Args:
        backbone: a run folder; a backbone file of massrl; a checkpoint of another project, in which the
            network is found; or a network of a library with its published weights, such as
            ``torchvision:resnet50`` or ``timm:vit_small_patch16_224``.
        random_init: return the network with the random weights that its training started from, as a
            baseline.
        trust: whether a file may name ``module:function`` as its network, which is imported and
            called. Not needed for a run folder, whose configuration is the user's own.
        model: what the weights of another project's checkpoint do not tell, such as
            ``{"stem": "small-pad2"}``.
        untrained: former name of ``random_init``; raises.

    Returns:
        A module in eval mode from float ``(B, 3, H, W)``, scaled to [0, 1] and normalised, to pooled
        features ``(B, D)``. Its attribute ``about`` says how images are prepared (``size`` in pixels,
        ``mean``, ``std``), the number of features (``num_features``) and where the weights come from.

    Raises:
        CheckpointError: if there is no backbone, it is damaged, or its weights fit more than one network.
        ConfigError: if a library has no such network, or ``model`` is given for a file that says it all.
    """
    told = model if isinstance(model, ForeignConfig) else make(ForeignConfig, model or {})
    if untrained is not None:
        raise ConfigError("load_backbone has no argument untrained any more: it is random_init now")
    if is_library_name(str(backbone)):
        refuse_told(str(backbone), told)
        loaded = load_library_backbone(str(backbone), random_init=random_init)
        return _ready(loaded.network, loaded.about)
    file = weights_file(Path(backbone), flag="BACKBONE")
    state, about = _read_file(file, told, trust=trust or Path(backbone).is_dir())
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
    path: Path, told: ForeignConfig | None = None
) -> tuple[ImportedBackbone, dict[str, Any]]:
    """Extract the backbone from another project's file.

    Args:
        path: the file.
        told: what is known of it; the rest is found by names and shapes of the tensors.

    Returns:
        The weights with an account of everything in the file, and the description ``about``.

    Raises:
        CheckpointError: if there is no backbone in it, or its weights fit more than one network.
    """
    from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

    told = told or ForeignConfig()
    if told.backbone and told.size and not is_users_code(told.backbone):
        check_named_sides(told.backbone, [ViewSide(told.size, "--model.size")])
    weights = read_weights(path)
    wanted: Any = {name: getattr(told, name) for name in ("backbone", "stem", "part")}
    try:
        imported = take_backbone(weights, where=str(path), **wanted, image_side=told.size)
    except CheckpointError:
        if told.size is None:
            raise
        part = take_backbone(weights, where=str(path), **wanted).part  # raises if that is not why
        own, name = part.image_side, part.backbone
        raise CheckpointError(
            f"{path} holds {name} for images of {own} px, not of {told.size}: --model.size {own}"
        ) from None
    part = imported.part
    about = {
        "backbone": part.backbone,
        "stem": part.stem,
        "size": told.size or (part.image_side if part.stem == "standard" else _SMALL_SIDE),
        "mean": list(told.mean or IMAGENET_DEFAULT_MEAN),
        "std": list(told.std or IMAGENET_DEFAULT_STD),
        "seed": 0,
        "recipe": "",
        "step": None,
        "source": path.name,
        "part": part.name,
        "origin": imported.origin.name,
        "labels": told.labels,
        "licence": told.licence,
        "sha256": weights_hash(imported.state),
    }
    return imported, about


def random_backbone(about: Mapping[str, Any]) -> nn.Module:
    """Build the network of a description with the random weights that its training started from."""
    with torch.random.fork_rng(devices=[]):
        return seeded_backbone(
            about["backbone"], stem=about["stem"], image_side=about["size"], seed=about["seed"]
        )


def refuse_told(name: str, told: ForeignConfig) -> None:
    """Refuse options for another project's checkpoint where the weights come with their description.

    Raises:
        ConfigError: if any is set.
    """
    if told.given():
        raise ConfigError(
            f"{name} says how its network is built and its images are prepared: no "
            f"{', '.join(told.given())}, which are for checkpoints of other projects"
        )


def _read_file(
    file: Path, told: ForeignConfig, *, trust: bool
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the weights in a file of massrl or of another project, and their description."""
    if file.is_file() and backbone_about(file) is None:
        imported, about = foreign_backbone(file, told)
        unknown = [name for name in ("size", "mean", "std") if getattr(told, name) is None]
        if unknown:
            logger.warning(
                "%s was not written by massrl: its images are prepared as for ImageNet, %d px, where %s "
                "does not say otherwise",
                file,
                about["size"],
                ", ".join(f"--model.{name}" for name in unknown),
            )
        for line in imported.lines():
            logger.info("%s", line)
        return imported.state, about
    refuse_told(str(file), told)
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
