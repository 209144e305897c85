"""BYOL on N views: predict the target network's view of an image from each of its other views."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from massrl.errors import ConfigError
from massrl.methods.base import LazyViews, Method, MethodOutput, Outputs, Views
from massrl.methods.losses import mean_target_losses, pair_weight, reduce_pairs, regression_matrix
from massrl.methods.pairs import policies_of
from massrl.models.momentum import copy_as_target, update_target
from massrl.views.layouts import ViewSpec


class BYOL(Method):
    """Online network = backbone + projector + predictor; target = moving average of the first two.

    Source: Grill et al. 2020 (arXiv 2006.07733), on the pairs of N views of MASSRL (arXiv 2205.11772).

    Args:
        backbone: images to features.
        projector: features to projections.
        predictor: projections to predictions of the target's projections; a ``ModuleList`` of one for
            each strategy of the online views, in their order (a predictor for each kind of view).
        views: one label per view.
        pairs: which views are compared.
        reduction: ``mean`` or ``sum`` over the pairs.
        batch_norm: ``per-view`` or ``joint``.
        memory: ``joint``; or ``streamed``, which costs nothing more: targets carry no gradient, so the
            loss of a view is known, and back-propagated, before the next one is looked at.
        target_statistics: whether the target keeps its ``own`` batch-norm statistics, or takes over
            those of the ``online`` network at every update.
        target: what a view is to predict: ``each`` of the target's views that it is paired with, or
            their ``mean``.

    Raises:
        ConfigError: if a predictor for each strategy is asked for and the strategies are not known, or
            share their batch statistics.
    """

    used: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        projector: nn.Module,
        predictor: nn.Module,
        *,
        views: Sequence[ViewSpec],
        pairs: str = "all",
        reduction: str = "mean",
        batch_norm: str = "per-view",
        memory: str = "joint",
        target_statistics: str = "own",
        target: str = "each",
    ) -> None:
        common = {"pairs": pairs, "reduction": reduction, "batch_norm": batch_norm}
        super().__init__(backbone, views, **common, memory=memory)
        self.projector = projector
        self.predictor = predictor
        self.target_statistics = target_statistics
        self.target = target
        used = self.mask[self.online][:, self.targets]
        self.register_buffer("used", used, persistent=False)
        if target == "mean":
            self.pair_weight = pair_weight(int(used.any(1).sum()), reduction)
        self._kinds = self._predictor_of_each(views)
        self.target_backbone = copy_as_target(backbone)
        self.target_projector = copy_as_target(projector)

    def _predictor_of_each(self, views: Sequence[ViewSpec]) -> list[int] | None:
        """For each online view the number of its predictor, ``None`` where one serves all."""
        if not isinstance(self.predictor, nn.ModuleList):
            return None
        if self.batch_norm == "joint":
            raise ConfigError(
                "--model.predictor.per_policy makes predictions view by view: --method.batch_norm "
                "per-view fits it"
            )
        kinds = policies_of([views[number] for number in self.online])
        return [kinds.index(str(views[number].policy)) for number in self.online]

    def forward(self, views: Views) -> MethodOutput:
        """See ``Method.forward``."""
        z_target = self._target(views)
        if self.batch_norm == "joint":
            y, z, p = self.per_view(self._embed, [views[number] for number in self.online])
        else:
            parts = [self._embed(views[number], place) for place, number in enumerate(self.online)]
            y, z, p = map(torch.stack, zip(*parts, strict=True))
        loss, rows = self._losses(p, z_target, self.used)
        return self._output(loss, rows, y, z, p)

    def forward_backward(self, views: Views, backward: Callable[[Tensor], object]) -> MethodOutput:
        """See ``Method.learn``."""
        if self.memory == "joint":
            return super().forward_backward(views, backward)
        z_target = self._target(views)
        parts = []
        for place, number in enumerate(self.online):
            y, z, p = self._embed(views[number], place)
            loss, row = self._losses(p[None], z_target, self.used[place : place + 1])
            backward(loss)
            parts.append((loss.detach(), row[0], y.detach(), z.detach(), p.detach()))
        losses, rows, y, z, p = map(torch.stack, zip(*parts, strict=True))
        return self._output(losses.sum(), rows, y, z, p)

    def _embed(self, view: Tensor, place: int = 0) -> Outputs:
        y = self.backbone(view)  # B × D
        z = self.projector(y)  # B × P
        predictor = self.predictor
        if self._kinds is not None:
            predictor = self.predictor.get_submodule(str(self._kinds[place]))
        return y, z, predictor(z)

    @torch.no_grad()
    def _target(self, views: Views) -> Tensor:
        """Projections ``(T, B, P)`` of the target network, of the views that it looks at."""
        (z,) = self.per_view(
            lambda view: (self.target_projector(self.target_backbone(view)),),
            LazyViews(views, self.targets),
        )
        return z

    def _losses(self, p: Tensor, z_target: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of predictions ``(M, B, P)``, and against each target view ``(M, T)``."""
        matrix = regression_matrix(p, z_target)
        if self.target == "each":
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
        """ξ ← τ ξ + (1 - τ) θ for every parameter."""
        copied = self.target_statistics == "online"
        update_target(self.target_backbone, self.backbone, tau, copy_buffers=copied)
        update_target(self.target_projector, self.projector, tau, copy_buffers=copied)

    @torch.no_grad()
    def reset_target(self) -> None:
        """See ``Method.reset_target``."""
        self.target_backbone.load_state_dict(self.backbone.state_dict())
        self.target_projector.load_state_dict(self.projector.state_dict())
