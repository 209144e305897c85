"""BYOL on N views: predict the target network's view of an image from each of its other views."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from massrl.methods.base import Method, MethodOutput, Outputs, Views
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
        memory: ``joint``; or ``streamed``, which costs nothing more: targets carry no gradient, so the
            loss of a view is known, and back-propagated, before the next one is looked at.
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
        memory: str = "joint",
        target_statistics: str = "own",
    ) -> None:
        common = {"pairs": pairs, "reduction": reduction, "batch_norm": batch_norm}
        super().__init__(backbone, views, **common, memory=memory)
        self.projector = projector
        self.predictor = predictor
        self.target_statistics = target_statistics
        self.target_backbone = copy_as_target(backbone)
        self.target_projector = copy_as_target(projector)

    def forward(self, views: Views) -> MethodOutput:
        """See ``Method.forward``."""
        z_target = self._target(views)
        y, z, p = self.per_view(self._online, views)  # N × B × D, N × B × P, N × B × P
        return self.output(regression_matrix(p, z_target), y, z)

    def learn(self, views: Views, backward: Callable[[Tensor], object]) -> MethodOutput:
        """See ``Method.learn``."""
        if self.memory == "joint":
            return super().learn(views, backward)
        z_target = self._target(views)
        parts = []
        for view, mask in zip(views, self.mask, strict=True):
            y, z, p = self._online(view)
            row = regression_matrix(p[None], z_target)  # 1 × N
            part = self.output(row, y[None], z[None], mask=mask[None])
            backward(part.loss)
            parts.append(part._replace(loss=part.loss.detach()))
        loss, *rest = zip(*parts, strict=True)
        return MethodOutput(torch.stack(loss).sum(), *map(torch.cat, rest))

    def _online(self, view: Tensor) -> Outputs:
        y = self.backbone(view)
        z = self.projector(y)
        return y, z, self.predictor(z)

    @torch.no_grad()
    def _target(self, views: Views) -> Tensor:
        """Projections ``(N, B, P)`` of the target network."""
        (z,) = self.per_view(
            lambda view: (self.target_projector(self.target_backbone(view)),), views
        )
        return z

    @torch.no_grad()
    def update_target(self, tau: float) -> None:
        """ξ ← τ ξ + (1 - τ) θ for every parameter."""
        copied = self.target_statistics == "online"
        update_target(self.target_backbone, self.backbone, tau, copy_buffers=copied)
        update_target(self.target_projector, self.projector, tau, copy_buffers=copied)
