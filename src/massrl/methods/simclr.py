"""SimCLR on N views: contrast views of an image with the views of all other images."""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from massrl.config.sections import MethodConfig, ModelConfig
from massrl.distributed import all_gather_cat
from massrl.errors import ConfigError
from massrl.methods.base import Method, MethodOutput, MethodParts, Outputs, Views, ViewSettings
from massrl.methods.losses import contrastive_matrix, reduce_pairs
from massrl.models.batch_norm import preserve_buffers


class SimCLR(Method):
    """One network = backbone + projector, trained by InfoNCE over the pairs of views.

    Each view's loss depends on all other views. With ``memory: streamed`` every view is therefore computed
    a second time in the backward pass.

    Args:
        backbone: images to features.
        projector: features to projections.
        temperature: divisor of the cosines.
        settings: which pairs of views are compared, and how they are computed.

    Raises:
        ConfigError: for a layout with views for a target network.

    Source: Chen et al. 2020 (arXiv 2002.05709).
    """

    def __init__(
        self,
        backbone: nn.Module,
        projector: nn.Module,
        *,
        temperature: float,
        settings: ViewSettings,
    ) -> None:
        super().__init__(backbone, settings)
        if any(view.role == "target" for view in settings.views):
            raise ConfigError(
                "--views.target_policy needs an objective with a target network: --method.name byol"
            )
        self.projector = projector
        self.temperature = temperature

    @classmethod
    def build(cls, parts: MethodParts) -> SimCLR:
        """See ``Method.build``."""
        return cls(
            parts.backbone,
            parts.projector(),
            temperature=parts.method.temperature,
            settings=parts.settings,
        )

    @classmethod
    def describe(cls, method: MethodConfig, model: ModelConfig) -> str:
        """See ``Method.describe``."""
        return f"SimCLR (InfoNCE), temperature {method.temperature:g}"

    def chance(self, num_images: int) -> float:
        """See ``Method.chance``: every candidate, the positive or a negative, is as likely."""
        negatives = self.num_views * (num_images - 1)
        return math.log(1 + negatives) * int(self.mask.sum()) * self.pair_weight

    def forward(self, views: Views) -> MethodOutput:
        """See ``Method.forward``."""
        if self.settings.memory == "streamed":
            parts = [self._embed_again(views, number) for number in range(len(views))]
            h, z = map(torch.stack, zip(*parts, strict=True))
        else:
            h, z = self.per_view(self._embed, views)  # N × B × D, N × B × P
        z_all, start = all_gather_cat(z, dim=1)  # negatives come from all processes
        matrix = contrastive_matrix(z, self.temperature, others=z_all, start=start)
        return MethodOutput(
            loss=reduce_pairs(matrix, self.mask, self.pair_weight),
            matrix=matrix.detach(),
            features=h.detach().flatten(0, 1),
            projections=z.detach().flatten(0, 1),
        )

    def _embed(self, view: Tensor) -> Outputs:
        h = self.backbone(view)
        return h, self.projector(h)

    def _embed_again(self, views: Views, number: int) -> Outputs:
        """Return ``_embed`` of a view, whose activations are recomputed in the backward pass."""
        outputs: Outputs = checkpoint(
            lambda: self._embed(views[number]),
            use_reentrant=False,
            context_fn=lambda: (nullcontext(), preserve_buffers(self)),
        )
        return outputs
