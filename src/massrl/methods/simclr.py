"""SimCLR on N views: tell an image's other views from the views of all other images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from massrl.methods.base import Method, MethodOutput
from massrl.methods.losses import contrastive_matrix
from massrl.methods.pairs import ViewLabel


class SimCLR(Method):
    """One network = backbone + projector, trained by InfoNCE over the pairs of views.

    Source: Chen et al. 2020 (arXiv 2002.05709).

    Args:
        backbone: images to features.
        projector: features to projections.
        temperature: divisor of the cosines.
        views: one label per view.
        pairs: which views are compared.
        reduction: ``mean`` or ``sum`` over the pairs.
        batch_norm: ``per-view`` or ``joint``.
    """

    def __init__(
        self,
        backbone: nn.Module,
        projector: nn.Module,
        *,
        temperature: float,
        views: Sequence[ViewLabel],
        pairs: str = "all",
        reduction: str = "mean",
        batch_norm: str = "per-view",
    ) -> None:
        super().__init__(backbone, views, pairs=pairs, reduction=reduction, batch_norm=batch_norm)
        self.projector = projector
        self.temperature = temperature

    def forward(self, views: Tensor) -> MethodOutput:
        """Learn from views ``(N, B, 3, H, W)``, normalised."""
        h = self.per_view(self.backbone, views)  # N × B × D
        z = self.per_view(self.projector, h)  # N × B × P
        return self.output(contrastive_matrix(z, self.temperature), h, z)
