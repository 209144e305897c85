"""The target network: an exponential moving average of the online network."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def copy_as_target(online: Module) -> Module:
    """Return a deep copy whose parameters do not require gradients."""
    target = copy.deepcopy(online)
    target.requires_grad_(False)
    return target


@torch.no_grad()
def update_target(
    target: nn.Module, online: nn.Module, *, tau: float, copy_buffers: bool = False
) -> None:
    """Update the target's parameters in place: ``target ← τ·target + (1 - τ)·online``.

    Buffers, such as batch-norm statistics, stay the target's own by default: they are moving averages of
    the target's own inputs already.

    Args:
        target: changed in place.
        online: a network of the same structure.
        tau: momentum τ in [0, 1]; 1 leaves the target unchanged.
        copy_buffers: whether to copy the online network's buffers.

    Raises:
        ValueError: if the networks differ in their parameters.

    Source: BYOL, arXiv 2006.07733, equation 1.
    """
    targets: list[Tensor] = list(target.parameters())
    sources: list[Tensor] = list(online.parameters())
    shapes = [[item.shape for item in side] for side in (targets, sources)]
    if shapes[0] != shapes[1]:
        raise ValueError("target and online network differ in their parameters")
    if targets:
        torch._foreach_lerp_(targets, sources, 1.0 - tau)
    if copy_buffers:
        for own, other in zip(target.buffers(), online.buffers(), strict=True):
            own.copy_(other)
