"""SimCLR: InfoNCE on the network's own projections, with and without recomputed views."""

from __future__ import annotations

import pytest
import torch
from tests.methods.conftest import noise_views, small_method, tensors_after_backward
from tests.reference import losses as reference
from torch import nn

from massrl.config.sections import MethodConfig, ModelConfig
from massrl.errors import ConfigError
from massrl.methods.simclr import SimCLR
from massrl.views.layouts import ViewSpec


def test_loss_is_that_of_numpy_on_the_networks_own_projections() -> None:
    """Guards the wiring: projections and not features, at the configured temperature."""
    method = small_method("simclr", temperature=0.3)
    x = noise_views()
    with torch.no_grad():
        z = [method.projector(method.backbone(view)).numpy() for view in x]  # type: ignore[operator]
        output = method(x)
    assert float(output.loss) == pytest.approx(2 * reference.ntxent(*z, 0.3), rel=1e-5)
    assert output.predictions is None
    assert output.projections.shape == (8, 8)


def test_layout_with_views_for_a_target_is_refused() -> None:
    """Guards ``--views.target_policy``: SimCLR has no target network and would train on such views."""
    views = [ViewSpec("a", 0, "online"), ViewSpec("b", 1, "online"), ViewSpec("weak", 0, "target")]
    with pytest.raises(ConfigError, match="--method.name byol"):
        small_method("simclr", views)


def test_streamed_memory_draws_the_random_numbers_of_a_view_once() -> None:
    """Guards the recomputed pass: dropout with other numbers gives the gradient of another loss."""
    joint, streamed = (
        small_method("simclr", memory=memory).double() for memory in ("joint", "streamed")
    )
    for method in (joint, streamed):
        method.projector.append(nn.Dropout(0.5))  # type: ignore[operator]
    x = noise_views().double()
    expected, ours = tensors_after_backward(joint, x), tensors_after_backward(streamed, x)
    name = "backbone.conv1.weight"
    assert torch.allclose(ours[name], expected[name], rtol=1e-5, atol=1e-7)


def test_description_names_the_temperature() -> None:
    """Guards the log of a run against the settings of another objective."""
    text = SimCLR.describe(MethodConfig(temperature=0.25), ModelConfig())
    assert text == "SimCLR (InfoNCE), temperature 0.25"
    assert SimCLR.sanity_warnings(MethodConfig(target_momentum=0.0), ModelConfig()) == []
