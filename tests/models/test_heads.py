"""Heads: layers, widths, norms and biases."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from massrl.errors import ConfigError
from massrl.models.heads import build_head


def _kinds(head: nn.Sequential) -> list[str]:
    return [type(module).__name__ for module in head]


def test_head_of_two_layers_is_deepminds() -> None:
    """A bias on the output, or a hidden layer without its norm."""
    head = build_head(8, layers=2, hidden=16, out=4)
    assert _kinds(head) == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert [(head[0].in_features, head[0].out_features)] == [(8, 16)]
    assert [(head[3].in_features, head[3].out_features)] == [(16, 4)]
    assert head[0].bias is None
    assert head[3].bias is None
    assert head(torch.randn(5, 8)).shape == (5, 4)


def test_head_of_three_layers_has_two_hidden_ones() -> None:
    """``layers`` counted as hidden layers."""
    head = build_head(8, layers=3, hidden=16, out=4)
    assert _kinds(head) == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear"]
    assert (head[3].in_features, head[3].out_features) == (16, 16)


def test_head_of_one_layer_is_linear_and_of_none_is_nothing() -> None:
    """A norm or activation that slips into a linear head."""
    assert _kinds(build_head(8, layers=1, hidden=16, out=4)) == ["Linear"]
    x = torch.randn(3, 8)
    assert torch.equal(build_head(8, layers=0, hidden=16, out=4)(x), x)


def test_head_with_last_bias_has_it() -> None:
    """An option that is accepted and ignored."""
    head = build_head(8, layers=2, hidden=16, out=4, last_bias=True)
    assert head[3].bias.shape == (4,)


@pytest.mark.parametrize("field", ["layers", "hidden", "out"])
def test_head_with_a_bad_count_names_it(field: str) -> None:
    """A head of -1 layers that is quietly no head."""
    counts = {"layers": 2, "hidden": 16, "out": 4, field: -1}
    with pytest.raises(ConfigError, match=rf"--model\.projector\.{field}"):
        build_head(8, **counts)
