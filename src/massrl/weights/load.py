"""A backbone to judge or to use, whatever it comes from, and what is needed to build it and to feed it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from torch import nn

from massrl.config.pretrain import Config
from massrl.config.sections import ModelConfig
from massrl.data.source import IMAGENET_NORMALIZATION
from massrl.errors import CheckpointError
from massrl.models.backbones import is_users_code, seeded_backbone
from massrl.runs.folder import RunFolder
from massrl.weights.backbone_file import backbone_about, load_backbone_file, save_backbone
from massrl.weights.foreign import ImportedBackbone, take_backbone
from massrl.weights.libraries import is_library_name, load_library_backbone
from massrl.weights.safe_reader import read_weights

logger = logging.getLogger("massrl")

_FOREIGN_SIDE = {"standard": 224, "small": 32}  # pixels, unless it is said


def save_trained(path: Path, backbone: nn.Module, config: Config, *, step: int) -> None:
    """Save the backbone of a run.

    Args:
        path: the ``.safetensors`` file.
        backbone: the network.
        config: the run's, resolved.
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
    save_backbone(path, backbone.state_dict(), about)


def load_backbone(
    backbone: str | Path, *, random_init: bool = False, trust: bool = False
) -> nn.Module:
    """Load a backbone, ready to give features.

    Args:
        backbone: a run folder; a file that massrl wrote; a checkpoint of another project, whose ResNet is
            found in it (``massrl import`` takes it out with more to say about it); or a network with the
            weights of its library, as ``torchvision:resnet50`` or ``timm:vit_small_patch16_224``.
        random_init: leave the weights as training would have started with them, to compare with.
        trust: whether a file may name ``module:function`` as its network, which is imported and called;
            a run folder may, since its configuration is the user's own.

    Returns:
        A module in eval mode from float ``(B, 3, H, W)``, scaled to [0, 1] and normalised, to pooled
        features ``(B, D)``; ``about`` on it says how the images are to be prepared (``size``,
        ``mean``, ``std``), how many features there are (``num_features``) and where the weights came
        from.

    Raises:
        CheckpointError: if there is none, or it is damaged.
        ConfigError: if a library has no such network.
    """
    if is_library_name(str(backbone)):
        offered = load_library_backbone(str(backbone), random_init=random_init)
        return _ready(offered.network, offered.about)
    file = _file_of(Path(backbone))
    if file.is_file() and backbone_about(file) is None:
        taken, about = foreign_backbone(file)
        logger.warning(
            "%s is another project's: its images are prepared as for ImageNet, %d px; "
            "massrl import %s says otherwise with --size, --mean and --std",
            file,
            about["size"],
            quote(str(file)),
        )
        for line in taken.lines():
            logger.info("%s", line)
        state = taken.state
    else:
        state, about = load_backbone_file(file)
        trust = trust or Path(backbone).is_dir()
        if is_users_code(about["backbone"]) and not trust:
            raise CheckpointError(
                f"{file} names {about['backbone']}, code of yours to be run: its run folder, or "
                f"load_backbone(…, trust=True), says that it may be"
            )
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
    """Take the backbone out of another project's file.

    Args:
        path: the file.
        backbone: its network; found among the ResNets when left out.
        stem: its first layers; found likewise.
        part: the prefix to take, where there are several.
        size: side of the images it is for, pixels; 224, or 32 with a small stem, when left out.
        mean: what its images are normalised by; ImageNet's when left out.
        std: likewise.

    Returns:
        The weights with an account of all that was in the file, and what ``load_backbone`` calls ``about``.

    Raises:
        CheckpointError: if there is no backbone in it.
    """
    taken = take_backbone(
        read_weights(path),
        where=str(path),
        backbone=backbone,
        stem=stem,
        part=part,
        image_side=size or _FOREIGN_SIDE["standard"],
    )
    about = {
        "backbone": taken.part.backbone,
        "stem": taken.part.stem,
        "size": size or _FOREIGN_SIDE.get(taken.part.stem, _FOREIGN_SIDE["small"]),
        "mean": list(mean or IMAGENET_NORMALIZATION.mean),
        "std": list(std or IMAGENET_NORMALIZATION.std),
        "seed": 0,
        "recipe": "",
        "step": None,
        "source": path.name,
        "part": taken.part.name,
    }
    return taken, about


def random_backbone(about: Mapping[str, Any]) -> nn.Module:
    """The network with the weights that its training began with."""
    with torch.random.fork_rng(devices=[]):
        return seeded_backbone(
            ModelConfig(backbone=about["backbone"], stem=about["stem"]),
            image_side=about["size"],
            seed=about["seed"],
        )


def _file_of(path: Path) -> Path:
    if not path.is_dir():
        return path
    file = RunFolder.existing(path, flag="BACKBONE").backbone
    if not file.is_file():
        raise CheckpointError(
            f"{path} has no backbone yet, since the run is not complete: "
            f"massrl pretrain --resume {quote(str(path))} completes it"
        )
    return file


def _ready(network: nn.Module, about: dict[str, Any]) -> nn.Module:
    network.about = {**about, "num_features": int(network.num_features)}  # type: ignore
    return network.eval()
