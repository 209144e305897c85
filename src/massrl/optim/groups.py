"""Parameter groups: which parameters have weight decay and a trust ratio, and which have not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn


def parameter_groups(
    modules: nn.Module | Iterable[nn.Module], *, weight_decay: float
) -> list[dict[str, Any]]:
    """Sort trainable parameters into adapted and excluded ones, each exactly once.

    Tensors of two or more dimensions, the weights of convolutions and linear layers, are adapted.
    Biases and the scales and shifts of norms have one dimension and are excluded from weight decay
    and LARS's trust ratio alike.

    Args:
        modules: one module or several; what they share is taken once, where it is met first.
        weight_decay: weight decay of the adapted ones.

    Returns:
        Up to two groups for an optimiser, with ``name``, ``params``, ``weight_decay`` and ``adapt``
        (which only LARS reads); an empty one is left out.

    Source: BYOL, arXiv 2006.07733, section 3.3.
    """
    modules = [modules] if isinstance(modules, nn.Module) else list(modules)
    # A dict keeps the order, on which a saved optimiser's state relies; equality is identity here.
    every = dict.fromkeys(item for module in modules for item in module.parameters())
    trainable = [item for item in every if item.requires_grad]
    groups: list[dict[str, Any]] = [
        {
            "name": "adapted",
            "params": [item for item in trainable if item.ndim >= 2],
            "weight_decay": weight_decay,
            "adapt": True,
        },
        {
            "name": "excluded",
            "params": [item for item in trainable if item.ndim < 2],
            "weight_decay": 0.0,
            "adapt": False,
        },
    ]
    return [group for group in groups if group["params"]]
