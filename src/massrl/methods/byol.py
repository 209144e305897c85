"""BYOL on N views: predict the target network's view of an image from each of its other views."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from massrl.methods.base import Method, MethodOutput
from massrl.methods.losses import regression_matrix
from massrl.methods.pairs import ViewLabel
from massrl.models.momentum import copy_as_target, update_target


class BYOL(Method):
    """Online network = backbone + projector + predictor; target = moving average of the first two.

    Source: Grill et al. 2020 (arXiv 2006.07733), on the pairs of N views of MASSRL (arXiv 2205.11772).

    Args:
        backbone: images to features.
        projector: features to projections.
        predictor: projections to predictions of the target's projections.
        views: one label per view.
        pairs: which views are compared.
        reduction: ``mean`` or ``sum`` over the pairs.
        batch_norm: ``per-view`` or ``joint``.
        target_statistics: whether the target keeps its ``own`` batch-norm statistics, or takes over
            those of the ``online`` network at every update.
    """

    def __init__(
        self,
        backbone: nn.Module,
        projector: nn.Module,
        predictor: nn.Module,
        *,
        views: Sequence[ViewLabel],
        pairs: str = "all",
        reduction: str = "mean",
        batch_norm: str = "per-view",
        target_statistics: str = "own",
    ) -> None:
        super().__init__(backbone, views, pairs=pairs, reduction=reduction, batch_norm=batch_norm)
        self.projector = projector
        self.predictor = predictor
        self.target_statistics = target_statistics
        self.target_backbone = copy_as_target(backbone)
        self.target_projector = copy_as_target(projector)

    def forward(self, views: Tensor) -> MethodOutput:
        """Learn from views ``(N, B, 3, H, W)``, normalised."""
        y = self.per_view(self.backbone, views)  # N × B × D
        z = self.per_view(self.projector, y)  # N × B × P
        p = self.per_view(self.predictor, z)  # N × B × P
        with torch.no_grad():
            z_target = self.per_view(
                self.target_projector, self.per_view(self.target_backbone, views)
            )
        return self.output(regression_matrix(p, z_target), y, z)

    @torch.no_grad()
    def update_target(self, tau: float) -> None:
        """ξ ← τ ξ + (1 - τ) θ for every parameter."""
        copied = self.target_statistics == "online"
        update_target(self.target_backbone, self.backbone, tau, copy_buffers=copied)
        update_target(self.target_projector, self.projector, tau, copy_buffers=copied)
