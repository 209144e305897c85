"""SimCLR: InfoNCE on the network's own projections, with and without recomputed views."""

from __future__ import annotations

import math

import pytest
import torch
from tests.methods.conftest import noise_views, small_method, tensors_after_backward
from tests.reference import losses as reference
from torch import nn

from massrl.config.sections import MethodConfig, ModelConfig
from massrl.errors import ConfigError
from massrl.methods.losses import contrastive_matrix, reduce_pairs
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


@pytest.mark.parametrize(
    ("num_views", "pairs", "reduction"),
    [
        (2, "all", "mean"),
        (2, "all", "sum"),
        (4, "all", "mean"),
        (4, "paired", "mean"),
        (4, "paired", "sum"),
    ],
)
def test_chance_is_the_loss_of_random_projections_of_a_large_batch(
    num_views: int, pairs: str, reduction: str
) -> None:
    """Guards the number that a loss is compared with: views, pairs, reduction, and images of one batch.

    Cosines of random vectors of 16,384 dimensions are 0 up to 0.01, and those of equal ones are equal.
    """
    views = [ViewSpec("a", number) for number in range(num_views)]
    method = small_method("simclr", views, pairs=pairs, reduction=reduction)
    chance = method.chance(128)
    for z in (
        torch.randn(num_views, 128, 16_384, generator=torch.Generator().manual_seed(0)),
        torch.ones(num_views, 128, 8),
    ):
        loss = reduce_pairs(contrastive_matrix(z, 0.5), method.mask, method.pair_weight)
        assert float(loss) == pytest.approx(chance, rel=1e-3)


def test_chance_of_two_views_of_64_images_is_twice_that_of_126_negatives() -> None:
    """Guards the formula by a count by hand: one positive, 2 × 63 negatives, two directions."""
    assert small_method("simclr").chance(64) == pytest.approx(2 * math.log(127))
    # Of two processes with half the images each, all images are negatives.
    z = torch.randn(2, 64, 16_384, generator=torch.Generator().manual_seed(1))
    halves = [contrastive_matrix(z[:, i : i + 32], 0.5, others=z, start=i)[0, 1] for i in (0, 32)]
    assert 2 * float(sum(halves) / 2) == pytest.approx(2 * math.log(127), rel=1e-3)
