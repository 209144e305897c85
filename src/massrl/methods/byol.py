"""BYOL on N views: predict the target network's projection of a view from every other view."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from massrl.config.sections import MethodConfig, ModelConfig
from massrl.errors import ConfigError, counted
from massrl.methods.base import (
    LazyViews,
    Method,
    MethodOutput,
    MethodParts,
    Outputs,
    Views,
    ViewSettings,
)
from massrl.methods.losses import mean_target_losses, pair_weight, reduce_pairs, regression_matrix
from massrl.methods.pairs import policies_of
from massrl.models.momentum import copy_as_target, update_target
from massrl.views.layouts import ViewSpec


class BYOL(Method):
    """Online network = backbone + projector + predictor; target = moving average of the first two.

    Targets carry no gradient. With ``memory: streamed`` the loss of each view is therefore
    back-propagated before the next view is computed, and nothing is computed twice.

    Args:
        backbone: images to features.
        projector: features to projections.
        predictor: projections to predictions; or a ``ModuleList`` with one for each policy of the
            online views, in the order of ``policies_of``.
        settings: which pairs of views are compared, and how they are computed.
        target_statistics: ``own`` batch-norm statistics of the target, or a copy of the ``online``
            network's at every update.
        target_reduction: whether a view predicts ``each`` target view that it is paired with, or their
            ``mean``.

    Raises:
        ConfigError: for predictors per policy with a layout that samples policies, or with joint batch
            norm.

    Source: Grill et al. 2020 (arXiv 2006.07733), with the pairs of N views of MASSRL (arXiv 2205.11772).
    """

    has_target = True
    streams_free = True
    used: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        projector: nn.Module,
        predictor: nn.Module,
        *,
        settings: ViewSettings,
        target_statistics: str = "own",
        target_reduction: str = "each",
    ) -> None:
        super().__init__(backbone, settings)
        self.projector = projector
        self.predictor = predictor
        self.target_statistics = target_statistics
        self.target_reduction = target_reduction
        used = self.mask[self.online][:, self.targets]
        self.register_buffer("used", used, persistent=False)
        if target_reduction == "mean":
            self.pair_weight = pair_weight(int(used.any(1).sum()), settings.reduction)
        self._predictor_numbers = self._number_predictors(settings.views)
        self.target_backbone = copy_as_target(backbone)
        self.target_projector = copy_as_target(projector)

    @classmethod
    def build(cls, parts: MethodParts) -> BYOL:
        """See ``Method.build``."""
        projector, predictor = parts.projector(), parts.predictor()
        if parts.model.predictor.per_policy:
            policies = policies_of([v for v in parts.settings.views if v.role != "target"])
            predictor = nn.ModuleList([predictor, *(parts.predictor() for _ in policies[1:])])
        return cls(
            parts.backbone,
            projector,
            predictor,
            settings=parts.settings,
            target_statistics=parts.method.target_statistics,
            target_reduction=parts.method.target_reduction,
        )

    @classmethod
    def describe(cls, method: MethodConfig, model: ModelConfig) -> str:
        """See ``Method.describe``."""
        predictor = model.predictor
        return (
            f"BYOL, τ {method.target_momentum:g} → 1, "
            f"predictor {counted(predictor.layers, 'layer')} of {predictor.hidden}"
        )

    @classmethod
    def sanity_warnings(cls, method: MethodConfig, model: ModelConfig) -> list[str]:
        """See ``Method.sanity_warnings``."""
        found = {
            "the target equals the online network (τ 0): --method.target_momentum 0.99": (
                method.target_momentum == 0
            ),
            "the target is never updated (τ 1): --method.target_momentum 0.99": (
                method.target_momentum == 1
            ),
            "without a predictor BYOL collapses: --model.predictor.layers 2": (
                model.predictor.layers == 0
            ),
        }
        return [text for text, applies in found.items() if applies]

    def chance(self, num_images: int) -> float:
        """See ``Method.chance``: a prediction at a right angle to its target, whose loss is 2 - 2 · 0."""
        used = self.used.any(1) if self.target_reduction == "mean" else self.used
        return 2 * int(used.sum()) * self.pair_weight

    def _number_predictors(self, views: Sequence[ViewSpec]) -> list[int] | None:
        """Return the index of each online view's predictor, ``None`` with one predictor for all."""
        if not isinstance(self.predictor, nn.ModuleList):
            return None
        if self.settings.batch_norm == "joint":
            raise ConfigError(
                "--model.predictor.per_policy predicts view by view: use --method.batch_norm per-view"
            )
        policies = policies_of([views[number] for number in self.online])
        return [policies.index(str(views[number].policy)) for number in self.online]

    def forward(self, views: Views) -> MethodOutput:
        """See ``Method.forward``."""
        z_target = self._target(views)
        if self.settings.batch_norm == "joint":
            y, z, p = self.per_view(self._embed, [views[number] for number in self.online])
        else:
            parts = [self._embed(views[number], row) for row, number in enumerate(self.online)]
            y, z, p = map(torch.stack, zip(*parts, strict=True))
        loss, rows = self._losses(p, z_target, self.used)
        return self._output(loss, rows, y, z, p)

    def forward_backward(self, views: Views, backward: Callable[[Tensor], object]) -> MethodOutput:
        """See ``Method.forward_backward``."""
        if self.settings.memory == "joint":
            return super().forward_backward(views, backward)
        z_target = self._target(views)
        parts = []
        for row, number in enumerate(self.online):
            y, z, p = self._embed(views[number], row)
            loss, losses = self._losses(p[None], z_target, self.used[row : row + 1])
            backward(loss)
            parts.append((loss.detach(), losses[0], y.detach(), z.detach(), p.detach()))
        loss_parts, rows, y, z, p = map(torch.stack, zip(*parts, strict=True))
        return self._output(loss_parts.sum(), rows, y, z, p)

    def _embed(self, view: Tensor, row: int = 0) -> Outputs:
        y = self.backbone(view)  # B × D
        z = self.projector(y)  # B × P
        predictor = self.predictor
        if self._predictor_numbers is not None:
            predictor = self.predictor.get_submodule(str(self._predictor_numbers[row]))
        return y, z, predictor(z)

    @torch.no_grad()
    def _target(self, views: Views) -> Tensor:
        """Return the target network's projections of its views, ``(T, B, P)``."""
        (z,) = self.per_view(
            lambda view: (self.target_projector(self.target_backbone(view)),),
            LazyViews(views, self.targets),
        )
        return z

    def _losses(self, p: Tensor, z_target: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of predictions ``(M, B, P)``, and the matrix against all targets ``(M, T)``."""
        matrix = regression_matrix(p, z_target)
        if self.target_reduction == "each":
            return reduce_pairs(matrix, used, self.pair_weight), matrix.detach()
        losses = mean_target_losses(p, z_target, used)
        return reduce_pairs(losses, used.any(1), self.pair_weight), matrix.detach()

    def _output(self, loss: Tensor, rows: Tensor, y: Tensor, z: Tensor, p: Tensor) -> MethodOutput:
        matrix = rows.new_zeros(self.mask.shape)
        matrix[torch.tensor(self.online)[:, None], torch.tensor(self.targets)] = rows
        features, projections, predictions = (part.detach().flatten(0, 1) for part in (y, z, p))
        return MethodOutput(loss, matrix, features, projections, predictions)

    @torch.no_grad()
    def update_target(self, tau: float) -> None:
        """Update the target: ξ ← τ ξ + (1 - τ) θ for every parameter."""
        copied = self.target_statistics == "online"
        update_target(self.target_backbone, self.backbone, tau=tau, copy_buffers=copied)
        update_target(self.target_projector, self.projector, tau=tau, copy_buffers=copied)

    @torch.no_grad()
    def reset_target(self) -> None:
        """See ``Method.reset_target``."""
        self.target_backbone.load_state_dict(self.backbone.state_dict())
        self.target_projector.load_state_dict(self.projector.state_dict())
