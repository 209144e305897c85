"""What all objectives share: views, settings, heads and the forward pass over N views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tests.methods.conftest import (
    TWO_VIEWS,
    assert_close,
    noise_views,
    small_method,
    tensors_after_backward,
)
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from massrl.config.sections import MethodConfig, ModelConfig, PredictorConfig, ProjectorConfig
from massrl.errors import ConfigError
from massrl.methods.base import LazyViews, Method, MethodOutput, MethodParts, Views, ViewSettings
from massrl.optim.groups import parameter_groups
from massrl.views.layouts import ViewSpec


class Squares(Method):
    """The mean square of each view, for a weight of 2."""

    def __init__(self, settings: ViewSettings) -> None:
        super().__init__(nn.Identity(), settings)
        self.weight = nn.Parameter(torch.tensor(2.0))
        self.target_head = nn.Linear(1, 1)

    def forward(self, views: Views) -> MethodOutput:
        """Return the mean over views."""
        (squares,) = self.per_view(lambda view: (self.weight * view.square(),), views)
        matrix = torch.zeros(len(views), len(views))
        return MethodOutput(squares.mean(), matrix, squares.detach(), squares.detach())


def test_lazy_views_compute_the_selected_views_when_indexed() -> None:
    """Guards streamed memory: a view that is computed before it is needed is held for nothing."""
    computed: list[int] = []

    class Views(Sequence[Tensor]):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: Any) -> Any:
            computed.append(index)
            return torch.full((2,), float(index))

    views = LazyViews(Views(), [3, 1])
    assert len(views) == 2
    assert computed == []
    assert [float(view[0]) for view in views] == [3.0, 1.0]
    assert computed[:2] == [3, 1]


def test_streamed_memory_with_joint_batch_norm_is_refused() -> None:
    """Guards against an option that is ignored."""
    with pytest.raises(ConfigError, match="--train.memory joint"):
        ViewSettings(views=TWO_VIEWS, batch_norm="joint", memory="streamed")


def test_roles_of_views_decide_which_network_computes_them() -> None:
    """Guards a view for both networks against being computed by one, and the reverse."""
    roles = ["both", "online", "target"]
    method = Squares(ViewSettings(views=[ViewSpec(name, 0, name) for name in roles]))
    assert method.num_views == 3
    assert (method.online, method.targets) == ([0, 1], [0, 2])
    assert method.mask.nonzero().tolist() == [[0, 2], [1, 0], [1, 2]]
    assert method.pair_weight == pytest.approx(2 / 3)


def test_forward_backward_by_default_is_one_backward_pass_of_forward() -> None:
    """Guards objectives of other packages, which write ``forward`` alone."""
    method = Squares(ViewSettings(views=TWO_VIEWS))
    losses: list[float] = []

    def backward(loss: Tensor) -> None:
        losses.append(float(loss.detach()))
        loss.backward()

    output = method.forward_backward(torch.full((2, 4, 1), 3.0), backward)
    assert losses == [18.0]
    assert float(output.loss) == 18.0
    assert not output.loss.requires_grad
    assert method.weight.grad is not None
    assert float(method.weight.grad) == 9.0


def test_modules_named_target_are_not_trained() -> None:
    """Guards against an optimiser with weight decay pulling at the target."""
    method = Squares(ViewSettings(views=TWO_VIEWS))
    backbone, own = method.trainable()
    assert backbone is method.backbone
    assert [*own.parameters()] == [method.weight]


@pytest.mark.parametrize("batch_norm", ["per-view", "joint"])
def test_network_over_views_returns_stacks_in_the_order_of_the_views(batch_norm: str) -> None:
    """Guards the reshape of a joint pass, which could mix views and images."""
    method = Squares(ViewSettings(views=TWO_VIEWS, batch_norm=batch_norm))
    views = torch.arange(12.0).view(2, 3, 2)
    batches: list[int] = []

    def network(view: Tensor) -> tuple[Tensor, ...]:
        batches.append(len(view))
        return view + 1, view.sum(1)

    first, second = method.per_view(network, views)
    assert torch.equal(first, views + 1)
    assert torch.equal(second, views.sum(2))
    assert batches == ([3, 3] if batch_norm == "per-view" else [6])


def test_batch_statistics_are_per_view_unless_configured_as_joint() -> None:
    """Guards §3: views of different brightness share no mean by default."""
    x = torch.cat([noise_views(1), noise_views(1) * 5 + 20])
    per_view, joint = small_method("simclr"), small_method("simclr", batch_norm="joint")
    with torch.no_grad():
        by_hand = torch.stack([small_method("simclr").backbone(view) for view in x])
        assert torch.allclose(per_view(x).features, by_hand.flatten(0, 1), atol=1e-5)
        assert not torch.allclose(joint(x).features, by_hand.flatten(0, 1), atol=1e-2)


def test_heads_have_the_configured_layers() -> None:
    """Guards ``--model.projector.layers`` and ``--model.predictor.layers``."""
    model = ModelConfig(
        projector=ProjectorConfig(layers=3, hidden=10, out=6),
        predictor=PredictorConfig(layers=4, hidden=12, bias=True),
    )
    parts = MethodParts(
        backbone=nn.Identity(),
        num_features=20,
        method=MethodConfig(),
        model=model,
        settings=ViewSettings(views=TWO_VIEWS),
    )

    def linear_layers(head: nn.Module) -> list[nn.Linear]:
        return [layer for layer in head.modules() if isinstance(layer, nn.Linear)]

    projector, predictor = linear_layers(parts.projector()), linear_layers(parts.predictor())
    assert [layer.in_features for layer in projector] == [20, 10, 10]
    assert [layer.out_features for layer in projector] == [10, 10, 6]
    assert [layer.in_features for layer in predictor] == [6, 12, 12, 12]
    assert [layer.out_features for layer in predictor] == [12, 12, 12, 6]
    assert projector[-1].bias is None
    assert predictor[-1].bias is not None


@pytest.mark.parametrize("objective", ["byol", "simclr"])
@pytest.mark.parametrize(("layers", "out"), [(0, 8), (1, 12), (3, 24)])
def test_projector_of_any_depth_and_width_fits_any_objective(
    objective: str, layers: int, out: int
) -> None:
    """Guards the width of the predictor, which must be that of the projections."""
    projector = ProjectorConfig(layers=layers, hidden=16, out=out, bias=True)
    assert torch.isfinite(small_method(objective, projector=projector)(noise_views()).loss)


@pytest.mark.parametrize("objective", ["byol", "simclr"])
def test_loss_falls_on_one_batch(objective: str) -> None:
    """Guards the sign of the loss and the path of the gradient."""
    method, x = small_method(objective), noise_views(batch=8)
    optimizer = torch.optim.AdamW([p for m in method.trainable() for p in m.parameters()], lr=1e-3)
    losses = []
    for _ in range(12):
        output = method(x)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        losses.append(float(output.loss.detach()))
    assert sum(losses[-3:]) / 3 < 0.8 * losses[0]


@pytest.mark.parametrize("objective", ["byol", "simclr"])
@pytest.mark.parametrize("pairs", ["all", "paired", "cross-policy"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_streamed_memory_has_the_gradients_of_the_joint_backward(
    objective: str, pairs: str, reduction: str
) -> None:
    """Guards §3 in 64 bits: a view left out, a wrong weight, statistics counted twice."""
    views = [ViewSpec(name, 0) for name in "abca"]
    joint, streamed = (
        small_method(objective, views, memory=memory, pairs=pairs, reduction=reduction).double()
        for memory in ("joint", "streamed")
    )
    x = noise_views(num_views=4).double()
    expected, ours = tensors_after_backward(joint, x), tensors_after_backward(streamed, list(x))
    assert len(expected) > 40
    assert_close(ours, expected)


@pytest.mark.parametrize("objective", ["byol", "simclr"])
def test_streamed_memory_holds_the_activations_of_one_view(objective: str) -> None:
    """Guards the purpose of streaming: memory does not grow with the number of views."""

    def most_alive(memory: str, count: int) -> int:
        views = [ViewSpec(str(number), 0) for number in range(count)]
        method = small_method(objective, views, memory=memory)
        outputs: list[StorageWeakRef] = []
        alive: list[int] = []

        def count_alive(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
            outputs.append(StorageWeakRef(output.untyped_storage()))  # type: ignore[no-untyped-call]
            alive.append(sum(not item.expired() for item in outputs))  # type: ignore[no-untyped-call]

        method.backbone.conv1.register_forward_hook(count_alive)  # type: ignore[union-attr, operator]
        method.forward_backward(noise_views(num_views=count), torch.Tensor.backward)
        return max(alive)

    assert most_alive("joint", 8) == 8
    assert most_alive("streamed", 8) == most_alive("streamed", 2) == 1


@pytest.mark.parametrize("objective", ["byol", "simclr"])
def test_local_views_of_another_size_are_trained_on(objective: str) -> None:
    """Guards multi-crop: N views need not be of one size, with and without streaming."""
    views = [ViewSpec("a", 0), ViewSpec("b", 1), ViewSpec("a", 2, "online")]
    x = [*noise_views().double(), noise_views(num_views=1)[0, :, :, :8, :8].double()]
    expected, ours = (
        tensors_after_backward(small_method(objective, views, memory=memory).double(), x)
        for memory in ("joint", "streamed")
    )
    assert_close(ours, expected)


def test_parameter_of_the_objective_itself_is_trained() -> None:
    """Guards a learnable temperature or prototypes against never moving, without a word."""
    method = Squares(ViewSettings(views=TWO_VIEWS))
    assert list(method.own_parameters()) == ["weight"]
    (group,) = parameter_groups(method.trainable(), weight_decay=0.0)
    assert any(item is method.weight for item in group["params"])
    optimizer = torch.optim.SGD(group["params"], lr=0.1)
    method.forward_backward(torch.ones(2, 3, 1), Tensor.backward)
    optimizer.step()
    assert float(method.weight.detach()) == pytest.approx(1.9)  # the gradient is 1
