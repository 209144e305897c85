"""What every method has: networks, the pairs it compares, and one forward pass over N views."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from massrl.methods.losses import reduce_pairs
from massrl.methods.pairs import ViewLabel, pair_mask


class MethodOutput(NamedTuple):
    """What a forward pass over N views gives.

    Attributes:
        loss: scalar, float32.
        matrix: ``(N, N)``, the loss of view i against view j, without gradient.
        features: ``(N·B, D)``, the backbone's features, without gradient.
        projections: ``(N·B, P)``, the projections, without gradient.
    """

    loss: Tensor
    matrix: Tensor
    features: Tensor
    projections: Tensor


class Method(nn.Module):
    """Base of the objectives.

    Args:
        backbone: images ``(B, 3, H, W)`` to features ``(B, D)``.
        views: one label per view, in the order of the batch.
        pairs: which views are compared, see ``pair_mask``.
        reduction: ``mean`` or ``sum`` over the pairs, see ``reduce_pairs``.
        batch_norm: ``per-view`` (each view is a forward pass of its own, as published) or ``joint``.
    """

    mask: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        views: Sequence[ViewLabel],
        *,
        pairs: str,
        reduction: str,
        batch_norm: str,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.reduction = reduction
        self.batch_norm = batch_norm
        self.register_buffer("mask", pair_mask(views, pairs), persistent=False)

    @abstractmethod
    def forward(self, views: Tensor) -> MethodOutput:
        """Learn from views ``(N, B, 3, H, W)``, normalised."""

    @torch.no_grad()
    def update_target(self, tau: float) -> None:
        """Move the target, where there is one, towards the online network."""

    def trainable(self) -> list[nn.Module]:
        """The modules that the optimiser trains."""
        return [module for name, module in self.named_children() if not name.startswith("target")]

    def per_view(self, network: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        """Apply a network to ``(N, B, …)``, view by view or all at once, as ``batch_norm`` says."""
        if self.batch_norm == "joint":
            together = network(inputs.flatten(0, 1))
            return together.view(*inputs.shape[:2], *together.shape[1:])
        return torch.stack([network(view) for view in inputs])

    def output(self, matrix: Tensor, features: Tensor, projections: Tensor) -> MethodOutput:
        """Reduce the matrix to the loss and let go of the graph of everything else."""
        return MethodOutput(
            loss=reduce_pairs(matrix, self.mask, self.reduction),
            matrix=matrix.detach(),
            features=features.detach().flatten(0, 1),
            projections=projections.detach().flatten(0, 1),
        )
