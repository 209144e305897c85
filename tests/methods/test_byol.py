"""BYOL: predictions against targets, the target network, predictors per policy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.methods.conftest import (
    PREDICTOR,
    assert_close,
    noise_views,
    small_method,
    tensors_after_backward,
)
from tests.reference import losses as reference
from torch import nn

from massrl.config.sections import MethodConfig, ModelConfig, PredictorConfig
from massrl.errors import ConfigError
from massrl.methods.byol import BYOL
from massrl.views.layouts import ViewSpec


def small_byol(*arguments: Any, **settings: Any) -> BYOL:
    method = small_method("byol", *arguments, **settings)
    assert isinstance(method, BYOL)
    return method


def embeddings(method: BYOL, views: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Predictions of the online network and projections of the target, (N, B, D) each."""
    with torch.no_grad():
        p = [method.predictor(method.projector(method.backbone(view))).numpy() for view in views]
        z = [method.target_projector(method.target_backbone(view)).numpy() for view in views]
    return np.stack(p), np.stack(z)


def test_loss_is_that_of_numpy_on_the_networks_own_outputs() -> None:
    """Guards the wiring: predictions of the online network against projections of the target."""
    method = small_byol()
    for network, factor in ((method.target_backbone, 0.9), (method.target_projector, -0.5)):
        for parameter in network.parameters():
            parameter.data.mul_(factor)  # so that target and online network differ
    x = noise_views()
    p, z = embeddings(method, x)
    with torch.no_grad():
        loss = float(method(x).loss)
    assert loss == pytest.approx(reference.deepmind_byol(*p, *z), abs=1e-5)


def test_target_starts_as_a_copy_and_has_no_gradient() -> None:
    """Guards the start: a target with other weights gives random targets."""
    method = small_byol()
    online, target = method.backbone.state_dict(), method.target_backbone.state_dict()
    assert all(torch.equal(online[name], target[name]) for name in online)
    method(noise_views()).loss.backward()
    assert all(parameter.grad is None for parameter in method.target_backbone.parameters())
    assert all(parameter.grad is not None for parameter in method.backbone.parameters())
    assert method.trainable() == [method.backbone, method.projector, method.predictor]


@pytest.mark.parametrize("statistics", ["own", "online"])
def test_target_update_averages_parameters_and_copies_statistics_if_configured(
    statistics: str,
) -> None:
    """Guards §3: by default the target keeps its own batch-norm statistics."""
    method = small_byol(target_statistics=statistics)
    norm, target_norm = method.backbone.bn1, method.target_backbone.bn1
    assert isinstance(norm, nn.BatchNorm2d)
    assert isinstance(target_norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert target_norm.running_mean is not None
    with torch.no_grad():
        norm.weight.fill_(3.0)
        norm.running_mean.fill_(7.0)
    method.update_target(0.75)
    assert torch.allclose(target_norm.weight, torch.full_like(norm.weight, 0.75 * 1 + 0.25 * 3))
    mean = 7.0 if statistics == "online" else 0.0
    assert torch.equal(target_norm.running_mean, torch.full_like(target_norm.running_mean, mean))


def test_reset_makes_the_target_a_copy_again() -> None:
    """Guards ``--init-from``: the target must start from the loaded weights, statistics included."""
    method = small_byol()
    for tensor in (*method.backbone.parameters(), *method.projector.buffers()):
        tensor.data.fill_(2.0)
    method.reset_target()
    for online, target in (
        (method.backbone, method.target_backbone),
        (method.projector, method.target_projector),
    ):
        state = target.state_dict()
        assert all(torch.equal(item, state[name]) for name, item in online.state_dict().items())


def test_directional_pairs_give_the_standard_view_no_gradient() -> None:
    """Guards the direction: only the strong view is trained towards the standard one."""
    views = [ViewSpec("standard", 0), ViewSpec("strong", 0)]
    method = small_byol(views, pairs="directional")
    x = noise_views().requires_grad_()
    method.eval()  # batch statistics would couple the images of one view, not the views
    method(x).loss.backward()
    assert x.grad is not None
    assert float(x.grad[0].abs().max()) == 0.0
    assert float(x.grad[1].abs().max()) > 0.0


def test_networks_compute_only_the_views_of_their_role() -> None:
    """Guards roles: weak views for the target, local ones for the online network."""
    views = [
        *(ViewSpec("a", 0, "online"), ViewSpec("b", 1, "online")),
        *(ViewSpec("weak", 0, "target"), ViewSpec("weak", 1, "target")),
        ViewSpec("c", 2, "online"),
    ]
    method = small_byol(views)
    computed: dict[str, list[float]] = {"online": [], "target": []}
    for name, network in (("online", method.backbone), ("target", method.target_backbone)):
        network.register_forward_hook(
            lambda module, inputs, output, name=name: computed[name].append(float(inputs[0].mean()))
        )
    x = noise_views(num_views=5)
    output = method(x)
    means = [float(view.mean()) for view in x]
    assert computed["online"] == pytest.approx([means[0], means[1], means[4]])
    assert computed["target"] == pytest.approx([means[2], means[3]])
    assert method.mask.sum() == 6
    used = output.matrix[method.mask]
    assert (used > 0).all()
    assert (output.matrix[~method.mask] == 0).all()
    assert float(output.loss.detach()) == pytest.approx(2 * float(used.mean()), rel=1e-5)


def test_mean_of_the_target_views_is_that_of_numpy() -> None:
    """Guards ``--method.target_reduction mean``: unit vectors in use, normalised again."""
    views = [ViewSpec(name, 0) for name in "aabb"]
    method = small_byol(views, target_reduction="mean", pairs="cross-policy")
    x = noise_views(num_views=4)
    p, z = embeddings(method, x)
    with torch.no_grad():
        loss = float(method(x).loss)

    def unit(vectors: np.ndarray) -> np.ndarray:
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    losses = []
    for i in range(4):
        others = [unit(z[j]) for j in range(4) if j // 2 != i // 2]
        losses.append((2 - 2 * (unit(p[i]) * unit(np.mean(others, 0))).sum(-1)).mean())
    assert loss == pytest.approx(2 * np.mean(losses), abs=1e-5)
    two = (small_byol(target_reduction=target)(noise_views()).loss for target in ("each", "mean"))
    one, other = (float(item.detach()) for item in two)
    assert one == pytest.approx(other, abs=1e-6)  # of two views, the mean is the other view


@pytest.mark.parametrize("memory", ["joint", "streamed"])
def test_views_of_a_policy_train_the_predictor_of_that_policy(memory: str) -> None:
    """Guards ``per_policy``: a view must not train another policy's predictor."""
    views = [ViewSpec("a", 0), ViewSpec("b", 1), ViewSpec("a", 2)]
    method = small_byol(views, per_policy=True, memory=memory)
    assert isinstance(method.predictor, nn.ModuleList)
    assert len(method.predictor) == 2
    assert not torch.equal(method.predictor[0][0].weight, method.predictor[1][0].weight)  # type: ignore[index]
    method.mask[:] = False
    method.mask[1, 0] = True  # only "b" has a loss
    method.used = method.mask
    method.forward_backward(noise_views(num_views=3), torch.Tensor.backward)
    norms = [
        sum(float(item.grad.norm()) for item in head.parameters() if item.grad is not None)
        for head in method.predictor
    ]
    assert norms[0] == 0.0
    assert norms[1] > 0.0


def test_predictor_per_policy_is_refused_for_sampled_policies_and_joint_batches() -> None:
    """Guards against a predictor of no policy, and against views that share a forward pass."""
    with pytest.raises(ConfigError, match="samples a policy"):
        small_byol([ViewSpec(None, 0), ViewSpec(None, 1)], per_policy=True)
    with pytest.raises(ConfigError, match="--method.batch_norm per-view"):
        small_byol(per_policy=True, batch_norm="joint")


@pytest.mark.parametrize(
    "settings", [{"target_reduction": "mean"}, {"per_policy": True}, {"pairs": "directional"}]
)
def test_streamed_memory_has_the_gradients_of_the_joint_backward(settings: dict[str, Any]) -> None:
    """Guards streaming with each of BYOL's own options."""
    views = [ViewSpec("a", 0), ViewSpec("b", 0), ViewSpec("a", 1), ViewSpec("b", 1)]
    x = noise_views(num_views=4).double()
    expected, ours = (
        tensors_after_backward(small_byol(views, memory=memory, **settings).double(), x)
        for memory in ("joint", "streamed")
    )
    assert_close(ours, expected)


def test_description_has_the_objectives_own_numbers() -> None:
    """Guards the log of a run against the settings of another objective."""
    text = BYOL.describe(
        MethodConfig(target_momentum=0.97), ModelConfig(predictor=PredictorConfig(hidden=300))
    )
    assert text == "BYOL, τ 0.97 → 1, predictor 2 layers of 300"


@pytest.mark.parametrize(
    ("tau", "layers", "expected"),
    [
        (0.99, 2, []),
        (0.0, 2, ["equals the online network"]),
        (1.0, 2, ["never updated"]),
        (0.99, 0, ["collapses"]),
    ],
)
def test_settings_that_cannot_train_are_warned_of(
    tau: float, layers: int, expected: list[str]
) -> None:
    """Guards hours of a run whose target or predictor cannot work."""
    predictor = PredictorConfig(layers=layers, hidden=PREDICTOR.hidden)
    warnings = BYOL.sanity_warnings(
        MethodConfig(target_momentum=tau), ModelConfig(predictor=predictor)
    )
    assert len(warnings) == len(expected)
    assert all(part in text for part, text in zip(expected, warnings, strict=True))
    assert all("--" in text for text in warnings)


@pytest.mark.parametrize("target_reduction", ["each", "mean"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("num_views", [2, 4])
def test_chance_is_the_loss_of_random_predictions(
    num_views: int, reduction: str, target_reduction: str
) -> None:
    """Guards the number that a loss is compared with: 4 for means, 2 for each term of a sum."""
    views = [ViewSpec("a", number) for number in range(num_views)]
    settings = {"reduction": reduction, "target_reduction": target_reduction}
    method = small_byol(views, **settings)
    p, z = torch.randn(2, num_views, 64, 16_384, generator=torch.Generator().manual_seed(0))
    loss, _ = method._losses(p, z, method.used)
    assert method.chance(64) == pytest.approx(float(loss), rel=1e-3)
    terms = num_views if target_reduction == "mean" else num_views * (num_views - 1)
    assert method.chance(64) == pytest.approx(4 if reduction == "mean" else 2 * terms)
