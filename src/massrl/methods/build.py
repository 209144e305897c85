"""From a configuration to the networks and the objective, with seeded weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from massrl.config.sections import MethodConfig, ModelConfig, PredictorConfig, ProjectorConfig
from massrl.methods.base import Method
from massrl.methods.byol import BYOL
from massrl.methods.pairs import policies_of
from massrl.methods.simclr import SimCLR
from massrl.models.backbones import seeded_backbone
from massrl.models.heads import build_head
from massrl.views.layouts import ViewSpec


def build_method(
    method: MethodConfig,
    model: ModelConfig,
    *,
    views: Sequence[ViewSpec],
    image_side: int,
    seed: int,
    memory: str = "joint",
) -> Method:
    """Build an objective with its networks; equal seeds give equal weights.

    Args:
        method: which objective.
        model: which networks; ``backbone`` must be chosen.
        views: one label per view.
        image_side: side of the views, pixels.
        seed: seed of the weights.
        memory: ``joint`` or ``streamed``, see ``Method``.

    Raises:
        ConfigError: if a name is unknown or the parts do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        backbone = seeded_backbone(
            model.backbone or "", stem=model.stem, image_side=image_side, seed=seed
        )
        features = int(backbone.num_features)  # type: ignore[arg-type]
        width = model.projector.out if model.projector.layers else features
        projector = _head(features, model.projector, out=width)
        predictor = _head(width, model.predictor, out=width)
        if model.predictor.per_policy and method.name == "byol":
            kinds = policies_of([view for view in views if view.role != "target"])
            others = [_head(width, model.predictor, out=width) for _ in kinds[1:]]
            predictor = nn.ModuleList([predictor, *others])
    common: dict[str, Any] = {
        "views": views,
        "pairs": method.pairs or "all",
        "reduction": method.reduction,
        "batch_norm": method.batch_norm,
        "memory": memory,
    }
    if method.name == "byol":
        common |= {"target_statistics": method.target_statistics, "target": method.target_reduction}
        return BYOL(backbone, projector, predictor, **common)
    return SimCLR(backbone, projector, temperature=method.temperature, **common)


def _head(in_features: int, config: ProjectorConfig | PredictorConfig, *, out: int) -> nn.Module:
    return build_head(
        in_features, layers=config.layers, hidden=config.hidden, out=out, last_bias=config.bias
    )
