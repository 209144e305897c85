"""A trained backbone on disk: its weights, and what is needed to build it and to feed it."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import torch
from torch import nn

from massrl.checkpoint import load_backbone_file, save_backbone
from massrl.config import Config, ModelConfig
from massrl.errors import CheckpointError
from massrl.methods.build import seeded_backbone
from massrl.run_folder import RunFolder


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


def load_backbone(path: str | Path, *, untrained: bool = False) -> nn.Module:
    """Load a backbone that massrl trained.

    Args:
        path: a run folder or a ``.safetensors`` file.
        untrained: leave the weights as the run started with them, to compare with.

    Returns:
        A module in eval mode from float ``(B, 3, H, W)``, scaled to [0, 1] and normalised, to pooled
        features ``(B, D)``; ``about`` on it says how the images are to be prepared (``size``,
        ``mean``, ``std``) and where the weights came from.

    Raises:
        CheckpointError: if there is none, or it is damaged.
    """
    file = Path(path)
    if file.is_dir():
        file = RunFolder.existing(file, flag="BACKBONE").backbone
        if not file.is_file():
            raise CheckpointError(
                f"{path} has no backbone yet, since the run is not complete: "
                f"massrl pretrain --resume {quote(str(path))} completes it"
            )
    state, about = load_backbone_file(file)
    with torch.random.fork_rng(devices=[]):
        backbone = seeded_backbone(
            ModelConfig(backbone=about["backbone"], stem=about["stem"]),
            image_side=about["size"],
            seed=about["seed"],
        )
    if not untrained:
        try:
            backbone.load_state_dict(state)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(f"{file} does not fit {about['backbone']}: {reason}") from None
    backbone.about = about  # type: ignore[assignment]
    return backbone.eval()
