"""Building optimisers by name, including those of other packages."""

from __future__ import annotations

import copy

import pytest
import torch
from tests.conftest import Plugin
from torch import nn

from massrl.config.sections import OptimConfig
from massrl.errors import ConfigError
from massrl.optim.build import build_optimizer
from massrl.optim.groups import parameter_groups
from massrl.optim.lars import LARS
from massrl.registry import OPTIMIZERS


def _network() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def test_every_setting_reaches_the_optimiser() -> None:
    """Guards against a flag that is parsed and ignored."""
    network = _network()
    groups = parameter_groups(network, weight_decay=0.3)
    lars = build_optimizer(
        OptimConfig(name="lars", momentum=0.5, trust_coefficient=0.02, clip=True), groups, lr=2.0
    )
    assert isinstance(lars, LARS)
    wanted = {"lr": 2.0, "momentum": 0.5, "trust_coefficient": 0.02, "clip": True}
    for group in lars.param_groups:
        assert {key: group[key] for key in wanted} == wanted
    assert [group["weight_decay"] for group in lars.param_groups] == [0.3, 0.0]
    assert [group["adapt"] for group in lars.param_groups] == [True, False]
    sgd = build_optimizer(OptimConfig(name="sgd", momentum=0.5), groups, lr=2.0)
    assert (sgd.param_groups[0]["lr"], sgd.param_groups[0]["momentum"]) == (2.0, 0.5)
    adamw = build_optimizer(OptimConfig(name="adamw", betas=(0.8, 0.95)), groups, lr=2.0)
    assert adamw.param_groups[1]["betas"] == (0.8, 0.95)
    assert [group["weight_decay"] for group in adamw.param_groups] == [0.3, 0.0]


def test_fused_adamw_makes_the_update_of_the_formula() -> None:
    """Guards the fused kernel against the formula of arXiv 1711.05101."""
    network = _network()
    wanted = copy.deepcopy(network).weight.detach().double()
    optimizer = build_optimizer(
        OptimConfig(name="adamw", betas=(0.8, 0.9)),
        parameter_groups(network, weight_decay=0.1),
        lr=0.01,
    )
    first, second = torch.zeros(2, 3).double(), torch.zeros(2, 3).double()
    for step in range(1, 4):
        gradient = torch.arange(6.0).reshape(2, 3) - step
        network.weight.grad = gradient.clone()
        optimizer.step()
        gradient = gradient.double()
        first = 0.8 * first + 0.2 * gradient
        second = 0.9 * second + 0.1 * gradient**2
        wanted = wanted * (1 - 0.01 * 0.1)
        root = (second / (1 - 0.9**step)).sqrt() + 1e-8
        wanted = wanted - 0.01 * (first / (1 - 0.8**step)) / root
    torch.testing.assert_close(network.weight.detach().double(), wanted, rtol=1e-5, atol=1e-6)


def test_unknown_name_is_refused_with_a_suggestion() -> None:
    """Guards a typing slip against a traceback."""
    groups = parameter_groups(_network(), weight_decay=0.0)
    with pytest.raises(ConfigError, match=r"'adam'.*did you mean 'adamw'.*--optim.name"):
        OPTIMIZERS.build("adam", groups, 0.1, OptimConfig())


def test_networks_without_trainable_parameters_are_refused() -> None:
    """Guards against torch's message about an empty list, which names no flag."""
    with pytest.raises(ConfigError, match="no trainable parameters"):
        build_optimizer(OptimConfig(name="sgd"), [], lr=0.1)


def test_optimiser_of_another_package_is_built_with_its_arguments(plugin: Plugin) -> None:
    """Guards the public way: an optimiser is a function and an entry point."""
    source = """
import torch

def rprop(groups, lr, config, step_min: float = 1e-6):
    return torch.optim.Rprop(groups, lr=lr, step_sizes=(step_min, 50.0))
"""
    plugin(source, {"massrl.optimizers": {"rprop": "my_plugin:rprop"}})
    groups = parameter_groups(_network(), weight_decay=0.0)
    config = OptimConfig(name="rprop(step_min=0.001)")
    optimizer = build_optimizer(config, groups, lr=0.5)
    assert isinstance(optimizer, torch.optim.Rprop)
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert optimizer.param_groups[0]["step_sizes"] == (0.001, 50.0)
