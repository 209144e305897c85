"""Parameter groups: every trainable parameter once, in the right group."""

from __future__ import annotations

import torch
from torch import nn

from massrl.optim.groups import parameter_groups


def _network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def test_groups_put_biases_and_norms_into_excluded() -> None:
    """Guards against weight decay or a trust ratio on a norm's scale, unlike BYOL."""
    network = _network()
    adapted, excluded = parameter_groups(network, weight_decay=0.1)
    assert [id(item) for item in adapted["params"]] == [
        id(network[0].weight),
        id(network[3].weight),
    ]
    wanted = [network[0].bias, network[1].weight, network[1].bias, network[3].bias]
    assert [id(item) for item in excluded["params"]] == [id(item) for item in wanted]
    assert (adapted["weight_decay"], adapted["adapt"]) == (0.1, True)
    assert (excluded["weight_decay"], excluded["adapt"]) == (0.0, False)


def test_groups_with_shared_weights_hold_each_parameter_once() -> None:
    """Guards tied weights, and modules passed twice, against two updates a step."""
    first, second = _network(), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    second[1].weight = second[0].weight
    groups = parameter_groups([first, second, first], weight_decay=0.1)
    held = [id(item) for group in groups for item in group["params"]]
    assert len(held) == len(set(held)) == 6 + 3
    assert set(held) == {id(item) for net in (first, second) for item in net.parameters()}
    torch.optim.SGD(groups, lr=0.1)  # refuses duplicates itself


def test_groups_leave_out_frozen_parameters() -> None:
    """Guards frozen networks against weight decay."""
    network = _network()
    network[0].requires_grad_(False)
    groups = parameter_groups(iter([network]), weight_decay=0.1)
    assert sum(len(group["params"]) for group in groups) == 4


def test_empty_groups_are_omitted() -> None:
    """Guards optimisers, which do not accept empty groups."""
    (only,) = parameter_groups(nn.Linear(2, 2, bias=False), weight_decay=0.1)
    assert only["name"] == "adapted"
    assert parameter_groups(nn.ReLU(), weight_decay=0.1) == []
