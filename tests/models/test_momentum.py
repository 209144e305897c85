"""The moving-average target."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from massrl.models.momentum import copy_as_target, update_target


def _network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_target_starts_as_a_copy_that_shares_nothing() -> None:
    """A target that is the online network itself, or that the optimiser trains."""
    online = _network()
    target = copy_as_target(online)
    assert not any(item.requires_grad for item in target.parameters())
    assert all(item.requires_grad for item in online.parameters())
    for one, other in zip(online.parameters(), target.parameters(), strict=True):
        assert torch.equal(one, other)
        assert one.data_ptr() != other.data_ptr()


@pytest.mark.parametrize("tau", [0.0, 0.3, 0.996, 1.0])
def test_target_after_an_update_is_the_weighted_mean(tau: float) -> None:
    """τ and 1 - τ exchanged; an online network that is changed too; buffers that are averaged."""
    online, target = _network(), copy_as_target(_network())
    online(torch.randn(8, 3))  # moves the online network's statistics only
    averages = [
        tau * old.double() + (1 - tau) * new.double()
        for old, new in zip(target.parameters(), online.parameters(), strict=True)
    ]
    before = [item.detach().clone() for item in online.parameters()]
    update_target(target, online, tau=tau)
    for got, expected in zip(target.parameters(), averages, strict=True):
        torch.testing.assert_close(got.double(), expected.detach(), rtol=1e-6, atol=1e-7)
    assert all(map(torch.equal, online.parameters(), before))
    assert torch.equal(target[1].running_mean, torch.zeros(4))
    assert not torch.equal(online[1].running_mean, torch.zeros(4))


def test_target_at_momentum_one_stays_exactly() -> None:
    """Rounding that moves a target whose momentum says it must not move."""
    online, target = _network(), copy_as_target(_network())
    before = [item.clone() for item in target.parameters()]
    update_target(target, online, tau=1.0)
    assert all(map(torch.equal, target.parameters(), before))


def test_target_of_another_structure_is_refused() -> None:
    """A target that is averaged in part only, or by broadcasting."""
    with pytest.raises(ValueError, match="differ"):
        update_target(nn.Linear(3, 4), nn.Linear(3, 1), tau=0.5)
    with pytest.raises(ValueError, match="differ"):
        update_target(nn.Linear(3, 4), nn.Linear(3, 4, bias=False), tau=0.5)
