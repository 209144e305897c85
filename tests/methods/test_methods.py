"""The objectives as modules: networks, targets, batch statistics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.reference import losses as reference
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from massrl.config.sections import MethodConfig, ModelConfig, PredictorConfig, ProjectorConfig
from massrl.errors import ConfigError
from massrl.methods.base import Method
from massrl.methods.build import build_method
from massrl.methods.byol import BYOL
from massrl.views.layouts import ViewSpec

TWO = [ViewSpec("a", 0), ViewSpec("b", 1)]
PROJECTOR = ProjectorConfig(layers=2, hidden=16, out=8)
PREDICTOR = PredictorConfig(layers=2, hidden=16)


def small(
    objective: str,
    views: list[ViewSpec] = TWO,
    seed: int = 0,
    memory: str = "joint",
    per_policy: bool = False,
    **changes: Any,
) -> Method:
    predictor = replace(PREDICTOR, per_policy=per_policy)
    return build_method(
        MethodConfig(name=objective, **changes),
        ModelConfig(backbone="resnet10-narrow", projector=PROJECTOR, predictor=predictor),
        views=views,
        image_side=16,
        seed=seed,
        memory=memory,
    )


def images(num_views: int = 2, batch: int = 4) -> torch.Tensor:
    return torch.randn(num_views, batch, 3, 16, 16, generator=torch.Generator().manual_seed(3))


def test_byol_loss_equals_numpy_on_the_networks_own_outputs() -> None:
    """Guards the wiring: predictions of the online network against projections of the target."""
    method = small("byol")
    assert isinstance(method, BYOL)
    for network, factor in ((method.target_backbone, 0.9), (method.target_projector, -0.5)):
        for parameter in network.parameters():
            parameter.data.mul_(factor)  # so that target and online differ
    x = images()
    with torch.no_grad():
        p = [method.predictor(method.projector(method.backbone(view))).numpy() for view in x]
        z = [method.target_projector(method.target_backbone(view)).numpy() for view in x]
        loss = float(method(x).loss)
    assert loss == pytest.approx(reference.deepmind_byol(*p, *z), abs=1e-5)


def test_every_option_of_the_configuration_reaches_the_objective() -> None:
    """Guards against options that are parsed and ignored."""
    three = [ViewSpec(name, 0) for name in "abc"]
    x = images(num_views=3)
    losses = {
        name: float(small(objective, three, **{name: value})(x).loss.detach())
        for objective, name, value in (
            ("simclr", "reduction", "mean"),
            ("simclr", "temperature", 0.9),
            ("simclr", "batch_norm", "joint"),
            ("simclr", "pairs", "cross-policy"),
        )
    }
    usual = losses["reduction"]
    all_reduce_sum = float(small("simclr", three, reduction="sum")(x).loss.detach())
    assert all_reduce_sum == pytest.approx(usual * 3)  # N (N - 1) / 2 times the mean's
    assert losses["temperature"] != pytest.approx(usual, rel=1e-3)
    assert losses["batch_norm"] != pytest.approx(usual, rel=1e-3)
    assert losses["pairs"] == pytest.approx(usual)  # all pairs are of different strategies here
    assert small("simclr", three, pairs="cross-policy").mask.sum() == 6
    for statistics in ("own", "online"):
        method = small("byol", target_statistics=statistics)
        assert isinstance(method, BYOL)
        method(images())
        before = method.target_backbone.bn1.running_mean.clone()  # type: ignore[union-attr]
        method.backbone.bn1.running_mean.fill_(7.0)  # type: ignore[union-attr]
        method.update_target(0.9)
        after = method.target_backbone.bn1.running_mean  # type: ignore[union-attr]
        assert torch.equal(after, before) == (statistics == "own")


def test_networks_lie_channels_last_as_the_views_do() -> None:
    """Guards a third of the speed."""
    weight = small("byol").backbone.layer1[0].conv1.weight  # type: ignore[union-attr, index]
    assert weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[union-attr, operator]


def test_target_starts_as_a_copy_and_has_no_gradient() -> None:
    """Guards the start: a target with weights of its own teaches noise."""
    method = small("byol")
    assert isinstance(method, BYOL)
    online, target = method.backbone.state_dict(), method.target_backbone.state_dict()
    assert all(torch.equal(online[name], target[name]) for name in online)
    method(images()).loss.backward()
    assert all(parameter.grad is None for parameter in method.target_backbone.parameters())
    assert all(parameter.grad is not None for parameter in method.backbone.parameters())


def test_target_update_moves_parameters_and_leaves_statistics_alone() -> None:
    """Guards §3: the target keeps its own batch-norm statistics."""
    method = small("byol")
    assert isinstance(method, BYOL)
    norm, target_norm = method.backbone.bn1, method.target_backbone.bn1
    assert isinstance(norm, nn.BatchNorm2d)
    assert isinstance(target_norm, nn.BatchNorm2d)
    with torch.no_grad():
        norm.weight.fill_(3.0)
        norm.running_mean.fill_(7.0)  # type: ignore[union-attr]
    method.update_target(0.75)
    assert torch.allclose(target_norm.weight, torch.full_like(norm.weight, 0.75 * 1 + 0.25 * 3))
    assert torch.equal(target_norm.running_mean, torch.zeros_like(target_norm.running_mean))  # type: ignore[arg-type]


def test_target_is_not_among_the_trained_modules() -> None:
    """Guards against an optimiser with weight decay pulling at the target."""
    method = small("byol")
    assert {id(module) for module in method.trainable()} == {
        id(method.backbone),
        id(method.projector),
        id(method.predictor),
    }


@pytest.mark.parametrize("objective", ["byol", "simclr"])
def test_equal_seeds_give_equal_weights_and_leave_the_global_generator_alone(
    objective: str,
) -> None:
    """Guards §3's randomness: building a network must not move anybody else's numbers."""
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first, second, other = (small(objective, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(before, torch.get_rng_state())
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])
    assert not torch.equal(first.projector[0].weight, other.projector[0].weight)  # type: ignore[index,union-attr,operator]


def test_batch_statistics_are_per_view_unless_joint_is_asked_for() -> None:
    """Guards §3: views of other brightness must not share a mean unless that is wanted."""
    x = torch.cat([images(1), images(1) * 5 + 20])
    per_view, joint = small("simclr"), small("simclr", batch_norm="joint")
    with torch.no_grad():
        by_hand = torch.stack([small("simclr").backbone(view) for view in x])
        assert torch.allclose(per_view(x).features, by_hand.flatten(0, 1), atol=1e-5)
        assert not torch.allclose(joint(x).features, by_hand.flatten(0, 1), atol=1e-2)


@pytest.mark.parametrize("objective", ["byol", "simclr"])
def test_loss_falls_on_one_batch(objective: str) -> None:
    """Guards the sign of the loss and the path of the gradient."""
    method, x = small(objective), images(batch=8)
    optimizer = torch.optim.AdamW([p for m in method.trainable() for p in m.parameters()], lr=1e-3)
    losses = []
    for _ in range(12):
        output = method(x)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        losses.append(float(output.loss.detach()))
    assert np.mean(losses[-3:]) < 0.8 * losses[0]


def test_target_takes_the_online_statistics_over_when_asked() -> None:
    """Guards ``--method.target_statistics online`` against being read and ignored."""
    method = small("byol", target_statistics="online")
    assert isinstance(method, BYOL)
    method(images())
    method.update_target(0.9)
    online, target = method.backbone.bn1, method.target_backbone.bn1
    assert isinstance(online, nn.BatchNorm2d)
    assert isinstance(target, nn.BatchNorm2d)
    assert torch.equal(online.running_mean, target.running_mean)  # type: ignore[arg-type]


@pytest.mark.parametrize("objective", ["byol", "simclr"])
@pytest.mark.parametrize(("layers", "out"), [(0, 8), (1, 12), (3, 24)])
def test_projector_of_any_depth_and_width_fits_any_objective(
    objective: str, layers: int, out: int
) -> None:
    """Guards "any with any": a predictor of a width of its own fits one projector alone."""
    method = build_method(
        MethodConfig(name=objective),
        ModelConfig(
            backbone="resnet10-narrow",
            projector=ProjectorConfig(layers=layers, hidden=16, out=out, bias=True),
            predictor=PREDICTOR,
        ),
        views=TWO,
        image_side=16,
        seed=0,
    )
    assert torch.isfinite(method(images()).loss)


def gradients(method: Method, views: Any) -> dict[str, torch.Tensor]:
    """What ``learn`` leaves: gradients, statistics, and all that it gives back."""
    torch.manual_seed(1)
    output = method.forward_backward(views, torch.Tensor.backward)
    assert not output.loss.requires_grad
    left = {name: item.grad for name, item in method.named_parameters() if item.grad is not None}
    given = {name: item for name, item in output._asdict().items() if item is not None}
    return {**left, **dict(method.named_buffers()), **given}


@pytest.mark.parametrize("objective", ["byol", "simclr"])
@pytest.mark.parametrize("pairs", ["all", "paired", "cross-policy"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_streamed_memory_has_the_gradients_of_the_joint_backward(
    objective: str, pairs: str, reduction: str
) -> None:
    """Guards §3 to rounding of 64 bits: a view left out, a weight too much, statistics counted twice."""
    views = [ViewSpec(name, 0) for name in "abca"]
    changes = {"pairs": pairs, "reduction": reduction}
    joint, streamed = (
        small(objective, views, memory=memory, **changes).double()
        for memory in ("joint", "streamed")
    )
    x = images(num_views=4).double()
    expected, ours = gradients(joint, x), gradients(streamed, list(x))
    assert expected.keys() == ours.keys()
    assert len(expected) > 40
    for name, tensor in expected.items():
        assert torch.allclose(ours[name].double(), tensor.double(), rtol=1e-5, atol=1e-6), name


def test_streamed_memory_draws_the_numbers_of_random_layers_once() -> None:
    """Guards SimCLR's second pass over a view: with other numbers its gradient is of another loss."""
    joint, streamed = (small("simclr", memory=memory).double() for memory in ("joint", "streamed"))
    for method in (joint, streamed):
        method.projector.append(nn.Dropout(0.5))  # type: ignore[operator]
    x = images().double()
    expected, ours = gradients(joint, x), gradients(streamed, x)
    name = "backbone.conv1.weight"
    assert torch.allclose(ours[name], expected[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("objective", ["byol", "simclr"])
def test_streamed_memory_holds_one_view_at_a_time(objective: str) -> None:
    """Guards what streaming is for: activations that are alive do not grow with the views."""

    def most_alive(memory: str, count: int) -> int:
        views = [ViewSpec(str(number), 0) for number in range(count)]
        method = small(objective, views, memory=memory)
        made: list[StorageWeakRef] = []
        alive: list[int] = []

        def watch(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
            made.append(StorageWeakRef(output.untyped_storage()))  # type: ignore[no-untyped-call]
            alive.append(sum(not item.expired() for item in made))  # type: ignore[no-untyped-call]

        method.backbone.conv1.register_forward_hook(watch)  # type: ignore[union-attr, operator]
        method.forward_backward(images(num_views=count), torch.Tensor.backward)
        return max(alive)

    assert most_alive("joint", 8) == 8
    assert most_alive("streamed", 8) == most_alive("streamed", 2) == 1


def test_streamed_memory_is_refused_where_statistics_are_of_all_views() -> None:
    """Guards against an option that is ignored."""
    with pytest.raises(ConfigError, match="--train.memory joint fits it"):
        small("byol", batch_norm="joint", memory="streamed")


def test_directional_pairs_pull_only_the_strong_view() -> None:
    """Guards the direction under BYOL: the standard view alone gets no gradient from its strong one."""
    views = [ViewSpec("standard", 0), ViewSpec("strong", 0)]
    method = small("byol", views=views, pairs="directional")
    x = images().requires_grad_()
    method.eval()  # batch statistics would tie the images of one view, not the views
    method(x).loss.backward()
    assert x.grad is not None
    assert float(x.grad[0].abs().max()) == 0.0
    assert float(x.grad[1].abs().max()) > 0.0


def test_every_layer_that_is_asked_for_is_built() -> None:
    """Guards ``--model.projector.layers`` and ``--model.predictor.layers``."""
    model = ModelConfig(
        backbone="resnet10-tiny",
        projector=ProjectorConfig(layers=3, hidden=10, out=6),
        predictor=PredictorConfig(layers=4, hidden=12, bias=True),
    )
    method = build_method(MethodConfig(name="byol"), model, views=TWO, image_side=32, seed=0)
    widths = {
        name: [
            layer.out_features
            for layer in getattr(method, name)
            if hasattr(layer, "weight") and layer.weight.ndim == 2
        ]
        for name in ("projector", "predictor")
    }
    assert widths == {"projector": [10, 10, 6], "predictor": [12, 12, 12, 6]}
    assert method.predictor[-1].bias is not None
    assert method.projector[-1].bias is None


# ---------------------------------------------------------------- what later work adds

WEAK = [ViewSpec("a", 0, "online"), ViewSpec("b", 1, "online"), ViewSpec("weak", 0, "target")]


def test_networks_look_at_their_own_views_alone() -> None:
    """Guards roles: weak views for the target, local ones for the online network."""
    views = [*WEAK, ViewSpec("weak", 1, "target"), ViewSpec("c", 2, "online")]
    method = small("byol", views)
    assert isinstance(method, BYOL)
    seen: dict[str, list[float]] = {"online": [], "target": []}
    for name, network in (("online", method.backbone), ("target", method.target_backbone)):
        network.register_forward_hook(
            lambda module, inputs, output, name=name: seen[name].append(float(inputs[0].mean()))
        )
    x = images(num_views=5)
    output = method(x)
    means = [float(view.mean()) for view in x]
    assert seen["online"] == pytest.approx([means[0], means[1], means[4]])
    assert seen["target"] == pytest.approx([means[2], means[3]])
    assert method.mask.sum() == 6
    used = output.matrix[method.mask]
    assert (used > 0).all()
    assert (output.matrix[~method.mask] == 0).all()
    assert float(output.loss.detach()) == pytest.approx(2 * float(used.mean()), rel=1e-5)


def test_views_for_a_target_are_refused_where_there_is_none() -> None:
    """Guards ``--views.target_policy`` against SimCLR, which would learn from them too."""
    with pytest.raises(ConfigError, match="--method.name byol has one"):
        small("simclr", WEAK)


def test_local_views_of_another_size_are_learnt_from() -> None:
    """Guards multi-crop: N views need not be of one size."""
    views = [ViewSpec("a", 0), ViewSpec("b", 1), ViewSpec("a", 2, "online")]
    x = [*images(), images(num_views=1)[0, :, :, :8, :8]]
    for objective in ("byol", "simclr"):
        expected, ours = (
            gradients(small(objective, views, memory=memory).double(), [v.double() for v in x])
            for memory in ("joint", "streamed")
        )
        for name, tensor in expected.items():
            assert torch.allclose(ours[name].double(), tensor.double(), rtol=1e-5, atol=1e-6), name


def test_mean_of_the_targets_views_is_numpys() -> None:
    """Guards ``--method.target_reduction mean``: of unit vectors in use, to unit length again."""
    views = [ViewSpec(name, 0) for name in "aabb"]
    method = small("byol", views, target_reduction="mean", pairs="cross-policy")
    assert isinstance(method, BYOL)
    x = images(num_views=4)
    with torch.no_grad():
        p = [method.predictor(method.projector(method.backbone(view))).numpy() for view in x]
        z = [method.target_projector(method.target_backbone(view)).numpy() for view in x]
        loss = float(method(x).loss)

    def unit(vectors: np.ndarray) -> np.ndarray:
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    losses = []
    for i in range(4):
        others = [unit(z[j]) for j in range(4) if j // 2 != i // 2]
        losses.append((2 - 2 * (unit(p[i]) * unit(np.mean(others, 0))).sum(-1)).mean())
    assert loss == pytest.approx(2 * np.mean(losses), abs=1e-5)
    two = (small("byol", target_reduction=target)(images()).loss for target in ("each", "mean"))
    one, other = (float(item.detach()) for item in two)
    assert one == pytest.approx(other, abs=1e-6)  # with two views, the mean is the other one


@pytest.mark.parametrize("memory", ["joint", "streamed"])
def test_each_strategy_has_a_predictor_of_its_own(memory: str) -> None:
    """Guards ``per_policy``: a view of one strategy moves no other's predictor."""
    views = [ViewSpec("a", 0), ViewSpec("b", 1), ViewSpec("a", 2)]
    method = small("byol", views, per_policy=True, memory=memory)
    assert isinstance(method.predictor, nn.ModuleList)
    assert len(method.predictor) == 2
    assert not torch.equal(method.predictor[0][0].weight, method.predictor[1][0].weight)
    method.mask[:] = False
    method.mask[1, 0] = True  # "b" alone learns
    method.used = method.mask
    method.forward_backward(images(num_views=3), torch.Tensor.backward)
    norms = [
        sum(float(item.grad.norm()) for item in head.parameters() if item.grad is not None)
        for head in method.predictor
    ]
    assert norms[0] == 0.0
    assert norms[1] > 0.0
    with pytest.raises(ConfigError, match="draws it anew"):
        small("byol", [ViewSpec(None, 0), ViewSpec(None, 1)], per_policy=True)
    with pytest.raises(ConfigError, match="per-view fits it"):
        small("byol", views, per_policy=True, batch_norm="joint")


@pytest.mark.parametrize(
    "changes", [{"target_reduction": "mean"}, {"per_policy": True}, {"pairs": "directional"}]
)
def test_what_later_work_adds_streams_too(changes: dict[str, Any]) -> None:
    """Guards the gradients of every combination that may be asked for together."""
    views = [ViewSpec("a", 0), ViewSpec("b", 0), ViewSpec("a", 1), ViewSpec("b", 1)]
    x = images(num_views=4).double()
    expected, ours = (
        gradients(small("byol", views, memory=memory, **changes).double(), x)
        for memory in ("joint", "streamed")
    )
    assert expected.keys() == ours.keys()
    for name, tensor in expected.items():
        assert torch.allclose(ours[name].double(), tensor.double(), rtol=1e-5, atol=1e-6), name


def test_views_that_would_be_compared_with_none_are_refused() -> None:
    """Guards against views that are made, computed, and learnt nothing from."""
    local = [ViewSpec("a", 0), ViewSpec("b", 0), ViewSpec("b", 1, "online")]
    with pytest.raises(ConfigError, match="compared with none.* b on crop 1"):
        small("byol", local, pairs="directional")
    with pytest.raises(ConfigError, match="has nothing to compare: a higher --views.num_crops"):
        small("simclr", [ViewSpec("a", 0)])


def test_directional_pairs_go_to_the_targets_own_views_where_there_are_some() -> None:
    """Guards weak views for the target under DSSL's pairs: each strong view to that of its own crop."""
    views = [
        *(ViewSpec(name, crop, "online") for crop in (0, 1) for name in ("standard", "strong")),
        *(ViewSpec("weak", crop, "target") for crop in (0, 1)),
    ]
    mask = small("byol", views, pairs="directional").mask
    assert [row.nonzero().flatten().tolist() for row in mask] == [[4, 5], [4], [4, 5], [5], [], []]
