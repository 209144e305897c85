"""Collective operations of one process, and of two that compute what one would."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from massrl.distributed import World, all_gather_cat, all_reduce_sum, alone, world
from massrl.models.batch_norm import synchronise_batch_norm
from massrl.views.layouts import ViewSpec
from tests.methods.conftest import noise_views, small_method
from tests.processes import in_two_processes

OBJECTIVES: dict[str, tuple[str, dict[str, Any]]] = {
    "byol": ("byol", {}),
    "byol, streamed": ("byol", {"memory": "streamed"}),
    "byol, joint statistics, sum": ("byol", {"batch_norm": "joint", "reduction": "sum"}),
    "simclr": ("simclr", {}),
    "simclr, streamed": ("simclr", {"memory": "streamed"}),
    "simclr, pairs across policies": ("simclr", {"pairs": "cross-policy"}),
}
SHARES = (3, 5)  # images of each process


def own_part(tensor: Tensor, dim: int, rank: int) -> Tensor:
    """This process's share of 8 images."""
    return tensor.narrow(dim, sum(SHARES[:rank]), SHARES[rank])


def train_once(objective: str, images: Tensor, place: World) -> dict[str, Tensor]:
    """Loss, gradients and statistics, in 64 bits, of this process's share of the images."""
    name, settings = OBJECTIVES[objective]
    method = small_method(name, [ViewSpec(policy, 0) for policy in "aab"], **settings).double()
    if place.size > 1:
        synchronise_batch_norm(method, gpu=False)
    weight = images.shape[1] * place.size / sum(SHARES)
    output = method.forward_backward(images, lambda loss: (loss * weight).backward())
    place.average_gradients(method.parameters())
    tensors = {name: item.grad for name, item in method.named_parameters() if item.grad is not None}
    return {**tensors, **dict(method.named_buffers()), "loss": place.mean(output.loss * weight)}


def cat_inputs() -> tuple[Tensor, Tensor]:
    """A tensor with 8 images along its second dimension, and weights for a sum of its squares."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 8, 3, generator=generator), torch.randn(2, 8, 3, generator=generator)


def exchange(place: World) -> dict[str, Any]:
    """Every operation, in each of two processes."""
    rank = place.rank
    results: dict[str, Any] = {
        "broadcast": place.broadcast(f"of {rank}"),
        "objects": place.all_gather_object({"rank": rank}),
        "numbers": place.all_gather_numbers([rank, 0.5]),
        "mean": place.mean(torch.tensor([2.0 * rank, 4.0], requires_grad=True)),
        "world": world(),
    }
    with alone():
        results["alone"] = (world(), all_gather_cat(torch.ones(rank + 1), dim=0))
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1), nn.Linear(1, 1))
    for number, parameter in enumerate(network[:2].parameters()):
        parameter.grad = torch.full_like(parameter, number + 2.0 * rank)
    place.average_gradients(network.parameters())
    results["gradients"] = [parameter.grad for parameter in network.parameters()]
    x = torch.tensor(rank + 1.0, requires_grad=True)
    total = all_reduce_sum(x.square())
    (total * (rank + 1)).backward()
    results["sum"] = (total.detach(), x.grad)
    values, weights = cat_inputs()
    part = own_part(values, 1, rank).clone().requires_grad_()
    whole, start = all_gather_cat(part, dim=1)
    ((whole.square() * weights).sum() * (rank + 1)).backward()
    results["cat"] = (whole.detach(), start, part.grad)
    images = own_part(noise_views(num_views=3, batch=8).double(), 1, rank)
    for objective in OBJECTIVES:
        results[objective] = train_once(objective, images, place)
    return results


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes have exchanged, by rank."""
    return in_two_processes(exchange, tmp_path_factory.mktemp("two"))


def test_single_process_exchanges_nothing() -> None:
    """Guards runs of one device: every operation must work without a process group."""
    place, tensor = World(), torch.ones(2, requires_grad=True)
    assert place.is_main
    assert place.nodes == 1
    assert place.broadcast("x") == "x"
    assert place.all_gather_object("x") == ["x"]
    assert place.all_gather_numbers([1, 2]).tolist() == [[1, 2]]
    assert place.mean(tensor).tolist() == [1, 1]
    assert not place.mean(tensor).requires_grad
    place.average_gradients([tensor])
    assert tensor.grad is None
    assert world() == World()
    assert all_reduce_sum(tensor) is tensor
    assert all_gather_cat(tensor, dim=0) == (tensor, 0)


def test_nodes_are_counted_from_local_and_global_size() -> None:
    """Guards ``--train.nodes`` of launched runs."""
    place = World(rank=5, size=8, local_rank=1, local_size=4)
    assert place.nodes == 2
    assert not place.is_main


def test_both_processes_receive_the_same(both: list[dict[str, Any]]) -> None:
    """Guards decisions that all processes must take alike: content, and the order of ranks."""
    for rank, results in enumerate(both):
        assert results["broadcast"] == "of 0"
        assert results["objects"] == [{"rank": 0}, {"rank": 1}]
        assert results["numbers"].dtype == torch.float64
        assert results["numbers"].tolist() == [[0, 0.5], [1, 0.5]]
        assert results["mean"].tolist() == [1, 4]
        assert not results["mean"].requires_grad
        assert results["world"] == World(rank=rank, size=2)


def test_process_that_computes_alone_exchanges_nothing(both: list[dict[str, Any]]) -> None:
    """Guards the timing of steps, in which the other processes take no part."""
    for rank, results in enumerate(both):
        here, (tensor, start) = results["alone"]
        assert here == World()
        assert (len(tensor), start) == (rank + 1, 0)


def test_gradients_are_averaged_where_there_are_some(both: list[dict[str, Any]]) -> None:
    """Guards the flattening of gradients against mixing up parameters."""
    for results in both:
        *averaged, weight, bias = results["gradients"]
        assert [item.unique().tolist() for item in averaged] == [[1.0], [2.0], [3.0], [4.0]]
        assert [tuple(item.shape) for item in averaged] == [(3, 2), (3,), (1, 3), (1,)]
        assert weight is None
        assert bias is None


def test_gradient_of_a_sum_is_that_of_all_processes(both: list[dict[str, Any]]) -> None:
    """Guards synchronised batch norm: each process's loss depends on the images of both."""
    for rank, results in enumerate(both):
        total, gradient = results["sum"]
        assert float(total) == 1 + 4
        assert float(gradient) == (1 + 2) * 2 * (rank + 1)


def test_concatenation_of_unequal_parts_has_the_gradient_of_the_whole(
    both: list[dict[str, Any]],
) -> None:
    """Guards InfoNCE's negatives of other processes: padding, order, and gradients that flow back."""
    values, weights = cat_inputs()
    for rank, results in enumerate(both):
        whole, start, gradient = results["cat"]
        assert torch.equal(whole, values)
        assert start == (0, 3)[rank]
        expected = own_part((1 + 2) * 2 * values * weights, 1, rank)
        assert torch.allclose(gradient, expected, rtol=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_two_processes_have_the_gradients_of_one(
    both: list[dict[str, Any]], objective: str
) -> None:
    """Guards loss, negatives, weights and batch norm over processes, in 64 bits."""
    expected = train_once(objective, noise_views(num_views=3, batch=8).double(), World())
    for results in both:
        assert results[objective].keys() == expected.keys()
        for name, tensor in expected.items():
            difference = (results[objective][name].double() - tensor.double()).abs().max()
            assert difference <= 1e-5 * tensor.double().abs().max() + 1e-7, name
