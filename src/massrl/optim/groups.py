"""Parameter groups: with and without weight decay and LARS's trust ratio."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn


def parameter_groups(
    modules: nn.Module | Iterable[nn.Module], *, weight_decay: float
) -> list[dict[str, Any]]:
    """Split trainable parameters into adapted and excluded ones.

    Tensors of two or more dimensions, the weights of convolutions and linear layers, are adapted.
    Biases and the scales and shifts of norms have one dimension and are excluded both from weight
    decay and from LARS's trust ratio.

    Args:
        modules: one module or several; shared parameters are listed once.
        weight_decay: weight decay of the adapted parameters.

    Returns:
        Up to two optimiser groups with ``name``, ``params``, ``weight_decay`` and ``adapt`` (read by
        LARS only); empty groups are omitted.

    Source: BYOL, arXiv 2006.07733, section 3.3.
    """
    modules = [modules] if isinstance(modules, nn.Module) else list(modules)
    # A dict preserves the order, on which a saved optimiser state depends; tensors hash by identity.
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
