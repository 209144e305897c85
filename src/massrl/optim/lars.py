"""LARS: the update of each tensor is scaled by the norm of its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from massrl.errors import ConfigError


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling with momentum, as BYOL uses it.

    For a tensor ``w`` with gradient ``g``, in a group with ``adapt=True``::

        u = g + weight_decay * w
        u = u * trust_coefficient * |w| / |u|      (skipped where |w| or |u| is 0)
        m = momentum * m + u
        w = w - lr * m

    Groups with ``adapt=False`` skip the second line; ``parameter_groups`` puts biases and norms there.
    The learning rate is applied after the momentum, so that a new rate takes effect at once.

    Args:
        params: parameters or groups; a group may set ``adapt`` and any argument below.
        lr: learning rate.
        momentum: momentum, in [0, 1).
        weight_decay: L2 penalty, added to the gradient.
        trust_coefficient: norm of an update at ``lr = 1``, relative to the norm of the weights.
        clip: replace the trust ratio ``r`` by ``min(r / lr, 1)``, so that a tensor's learning rate is
            ``min(r, lr)``, as in solo-learn's recipes for CIFAR.

    Raises:
        ConfigError: if an argument is out of range.

    Source: You et al., arXiv 1708.03888; BYOL, arXiv 2006.07733; deepmind-research,
    byol/utils/optimizers.py; the clipping: solo-learn, solo/utils/lars.py (``clip_lr``).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
        clip: bool = False,
    ) -> None:
        if lr < 0:
            raise ConfigError(f"lr of LARS is {lr:g}, but 0 or more is wanted (--optim.lr)")
        if not 0 <= momentum < 1:
            raise ConfigError(
                f"momentum of LARS is {momentum:g}, but 0 or more and below 1 is wanted "
                "(--optim.momentum)"
            )
        if weight_decay < 0:
            raise ConfigError(
                f"weight decay of LARS is {weight_decay:g}, but 0 or more is wanted "
                "(--optim.weight_decay)"
            )
        if trust_coefficient <= 0:
            raise ConfigError(
                f"trust coefficient of LARS is {trust_coefficient:g}, but more than 0 is wanted "
                "(--optim.trust_coefficient)"
            )
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
            "clip": clip,
            "adapt": True,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: recomputes and returns the loss.

        Returns:
            The closure's loss, ``None`` without one.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [item for item in group["params"] if item.grad is not None]
            if parameters:
                self._step_group(parameters, group)
        return loss

    def _step_group(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        updates = [item.grad for item in parameters if item.grad is not None]  # for the types
        if group["weight_decay"]:
            updates = list(torch._foreach_add(updates, parameters, alpha=group["weight_decay"]))
        if group["adapt"]:
            ratios = _trust_ratios(parameters, updates, group)
            updates = list(torch._foreach_mul(updates, ratios))
        for item in parameters:
            if "momentum_buffer" not in self.state[item]:
                self.state[item]["momentum_buffer"] = torch.zeros_like(item)
        buffers = [self.state[item]["momentum_buffer"] for item in parameters]
        torch._foreach_mul_(buffers, group["momentum"])
        torch._foreach_add_(buffers, updates)
        torch._foreach_add_(parameters, buffers, alpha=-group["lr"])


def _trust_ratios(
    parameters: list[Tensor], updates: list[Tensor], group: dict[str, Any]
) -> list[Tensor]:
    """Return one ratio per tensor, on the device: reading it here would stall the step."""
    weight_norms = torch.stack(list(torch._foreach_norm(parameters)))
    update_norms = torch.stack(list(torch._foreach_norm(updates)))
    ratios = group["trust_coefficient"] * weight_norms / update_norms
    if group["clip"]:
        ratios = (ratios / group["lr"]).clamp(max=1.0)
    usable = (weight_norms > 0) & (update_norms > 0)
    return list(torch.where(usable, ratios, torch.ones_like(ratios)).unbind())
