"""Small objectives, and what a backward pass leaves in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from massrl.config.sections import MethodConfig, ModelConfig, PredictorConfig, ProjectorConfig
from massrl.methods.base import Method, Views
from massrl.methods.build import build_method
from massrl.views.layouts import ViewSpec

TWO_VIEWS = [ViewSpec("a", 0), ViewSpec("b", 1)]
PROJECTOR = ProjectorConfig(layers=2, hidden=16, out=8)
PREDICTOR = PredictorConfig(layers=2, hidden=16)


def small_method(
    objective: str,
    views: Sequence[ViewSpec] = TWO_VIEWS,
    *,
    seed: int = 0,
    memory: str = "joint",
    projector: ProjectorConfig = PROJECTOR,
    predictor: PredictorConfig = PREDICTOR,
    per_policy: bool = False,
    **settings: Any,
) -> Method:
    """Build an objective of the smallest networks that still have several stages."""
    return build_method(
        MethodConfig(name=objective, **settings),
        ModelConfig(
            backbone="resnet10-narrow",
            projector=projector,
            predictor=replace(predictor, per_policy=per_policy),
        ),
        views=views,
        image_side=16,
        seed=seed,
        memory=memory,
    )


def noise_views(num_views: int = 2, batch: int = 4) -> Tensor:
    """Return the same noise at every call: float32 ``(num_views, batch, 3, 16, 16)``."""
    return torch.randn(num_views, batch, 3, 16, 16, generator=torch.Generator().manual_seed(3))


def tensors_after_backward(method: Method, views: Views) -> dict[str, Tensor]:
    """Return the gradients and buffers after ``forward_backward``, and all that it returned."""
    torch.manual_seed(1)
    output = method.forward_backward(views, torch.Tensor.backward)
    assert not output.loss.requires_grad
    gradients = {
        name: item.grad for name, item in method.named_parameters() if item.grad is not None
    }
    returned = {name: item for name, item in output._asdict().items() if item is not None}
    return {**gradients, **dict(method.named_buffers()), **returned}


def assert_close(ours: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Assert that two sets of tensors are equal up to the rounding of 32 bits."""
    assert ours.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.allclose(ours[name].double(), tensor.double(), rtol=1e-5, atol=1e-6), name
