"""Build an objective and its networks from seeded weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from massrl.config.sections import MethodConfig, ModelConfig
from massrl.methods.base import Method, MethodParts, ViewSettings
from massrl.models.backbones import seeded_backbone
from massrl.registry import OBJECTIVES
from massrl.registry.calls import bind_call, parse_call
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
        method: objective and its settings.
        model: backbone and heads; ``backbone`` must be set.
        views: policy, crop and role of each view.
        image_side: side of the views, pixels.
        seed: seed of the weights.
        memory: ``joint`` or ``streamed``, see ``ViewSettings``.

    Raises:
        ConfigError: if a name is unknown or the parts do not fit.
    """
    settings = ViewSettings(
        views=views,
        pairs=method.pairs or "all",
        reduction=method.reduction,
        batch_norm=method.batch_norm,
        memory=memory,
    )
    objective: type[Method] = OBJECTIVES.load_call(method.name)
    call = parse_call(method.name, flag=OBJECTIVES.flag)
    with torch.random.fork_rng(devices=[]):
        backbone = seeded_backbone(
            model.backbone or "", stem=model.stem, image_side=image_side, seed=seed
        )
        parts = MethodParts(
            backbone=backbone,
            num_features=int(backbone.num_features),  # type: ignore[arg-type]
            method=method,
            model=model,
            settings=settings,
        )
        built: Method = bind_call(call, partial(objective.build, parts), flag=OBJECTIVES.flag)
    return built
