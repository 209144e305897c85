"""Projector and predictor heads: multi-layer perceptrons."""

from __future__ import annotations

from torch import nn

from massrl.errors import ConfigError


def build_head(
    in_features: int,
    *,
    layers: int,
    hidden: int,
    out: int,
    last_bias: bool = False,
) -> nn.Sequential:
    """Build a multi-layer perceptron from ``(B, in_features)`` to ``(B, out)``.

    A hidden layer is linear without bias (batch norm's own replaces it), batch norm and ReLU; the
    output layer is linear.

    Args:
        in_features: width of the input.
        layers: number of linear layers: 2 is one hidden layer, 1 a linear map, 0 the identity.
        hidden: width of the hidden layers.
        out: width of the output; that of the input for 0 layers.
        last_bias: whether the output layer has a bias.

    Raises:
        ConfigError: if a count is out of range.

    Source: BYOL, arXiv 2006.07733, appendix; deepmind-research, byol/utils/networks.py (``MLP``).
    """
    smallest = {"layers": (layers, 0), "hidden": (hidden, 1), "out": (out, 1)}
    for field, (value, least) in smallest.items():
        if value < least:
            raise ConfigError(
                f"{field} of a head is {value}, but {least} or more is wanted "
                f"(--model.projector.{field}, --model.predictor.{field})"
            )
    modules: list[nn.Module] = []
    width = in_features
    for _ in range(layers - 1):
        modules += [nn.Linear(width, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(True)]
        width = hidden
    if layers:
        modules.append(nn.Linear(width, out, bias=last_bias))
    return nn.Sequential(*modules)
