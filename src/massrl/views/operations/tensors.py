"""Blocks of the operations' device forms. Imports torch: to be imported inside functions."""

from __future__ import annotations

import torch
from torch import Tensor


def column(values: Tensor, number: int = 0) -> Tensor:
    """Return one number of each view, ``(n, P)`` to ``(n, 1, 1, 1)``."""
    return values[:, number].view(-1, 1, 1, 1)


def round_half_up(levels: Tensor) -> Tensor:
    """Convert levels to uint8, clamped to 0-255 and rounded half up; ``levels`` is overwritten."""
    return levels.add_(0.5).clamp_(0, 255).to(torch.uint8)


def truncate(levels: Tensor) -> Tensor:
    """Convert levels to uint8 as torchvision does it: fractions are cut off; ``levels`` is overwritten."""
    return levels.clamp_(0, 255).to(torch.uint8)


def look_up(images: Tensor, tables: Tensor) -> Tensor:
    """Map every level through the table of its view.

    Args:
        images: uint8 ``(n, S, S, 3)``.
        tables: ``(n, 256)`` for all channels, or ``(n, 3 · 256)``, one table for each.

    Returns:
        uint8 ``(n, S, S, 3)``.
    """
    count = tables.numel() // 256
    first = torch.arange(count, device=images.device, dtype=torch.int32).view(len(images), 1, 1, -1)
    places = images + 256 * first
    return tables.to(torch.uint8).flatten().index_select(0, places.flatten()).view(images.shape)
