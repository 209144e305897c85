"""LARS against a NumPy transcription of the published optimiser."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tests.reference.lars import Lars
from torch import nn

from massrl.errors import ConfigError
from massrl.optim.lars import LARS

SHAPES = [(4, 3), (2, 3, 3, 3), (5,), (3,)]
ADAPT = [True, True, False, False]


def _parameters(dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    generator = np.random.default_rng(0)
    return [nn.Parameter(torch.tensor(generator.normal(size=s), dtype=dtype)) for s in SHAPES]


def _groups(parameters: list[nn.Parameter], weight_decay: float) -> list[dict[str, object]]:
    adapted, excluded = parameters[:2], parameters[2:]
    return [
        {"params": adapted, "weight_decay": weight_decay, "adapt": True},
        {"params": excluded, "weight_decay": 0.0, "adapt": False},
    ]


def _numpy(tensors: list[nn.Parameter]) -> list[np.ndarray]:
    return [tensor.detach().numpy().copy() for tensor in tensors]


def _check(
    optimizer: LARS, reference: Lars, parameters: list[nn.Parameter], **options: float
) -> None:
    """Six steps at changing rates; the second parameter misses the gradient of step 3."""
    generator = np.random.default_rng(1)
    for step, lr in enumerate([0.1, 0.4, 0.4, 0.2, 1.5, 0.0 if not options.get("clip") else 0.3]):
        gradients: list[np.ndarray | None] = [generator.normal(size=s) for s in SHAPES]
        if step == 3:
            gradients[1] = None
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = (
                None if gradient is None else torch.tensor(gradient, dtype=parameter.dtype)
            )
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        reference.step(gradients, lr=lr, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_lars_over_six_steps_equals_the_transcription(clip: bool, weight_decay: float) -> None:
    """Guards the order of decay, ratio, momentum and rate, and parameters without a gradient."""
    parameters = _parameters()
    reference = Lars(_numpy(parameters), ADAPT)
    optimizer = LARS(
        _groups(parameters, weight_decay), 0.1, momentum=0.8, trust_coefficient=0.02, clip=clip
    )
    options = {"momentum": 0.8, "weight_decay": weight_decay, "trust": 0.02, "clip": clip}
    _check(optimizer, reference, parameters, **options)
    for mine, wanted in zip(_numpy(parameters), reference.weights, strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-12, atol=1e-14)


def test_lars_with_clipping_makes_a_plain_step_where_the_ratio_exceeds_the_rate() -> None:
    """Guards against a clip that never applies, which the random steps would not show."""
    parameter = nn.Parameter(torch.tensor([[3.0, 4.0]]))
    parameter.grad = torch.tensor([[0.0, 1.0]])
    LARS([parameter], 0.5, momentum=0.0, trust_coefficient=1.0, clip=True).step()
    # the ratio is 5: clipped to 1, so that the step is lr * gradient
    assert parameter.tolist() == [[3.0, 3.5]]


def test_lars_skips_the_ratio_where_a_norm_is_zero() -> None:
    """Guards against NaN weights from 0/0, and against zero weights that never grow."""
    zero_weight = nn.Parameter(torch.zeros(2, 2))
    zero_update = nn.Parameter(torch.ones(2, 2))
    zero_weight.grad = torch.full((2, 2), 0.5)
    zero_update.grad = torch.zeros(2, 2)
    LARS([zero_weight, zero_update], 0.1, momentum=0.9).step()
    assert torch.allclose(zero_weight, torch.full((2, 2), -0.05), rtol=1e-6)
    assert torch.equal(zero_update, torch.ones(2, 2))


def test_lars_does_not_change_gradients() -> None:
    """Guards gradients, which are read after the step, against decay and ratio."""
    parameters = _parameters()
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    LARS(_groups(parameters, 0.1), 0.1).step()
    assert all(
        torch.equal(item.grad, torch.ones_like(item))
        for item in parameters
        if item.grad is not None
    )


def test_lars_with_a_loaded_state_continues_as_if_never_stopped() -> None:
    """Guards against momentum that is lost on resume."""
    uninterrupted = _parameters()
    optimizer = LARS(_groups(uninterrupted, 0.1), 0.1)
    generator = np.random.default_rng(2)
    gradients = [[torch.tensor(generator.normal(size=s)) for s in SHAPES] for _ in range(4)]

    def run(optimizer: LARS, parameters: list[nn.Parameter], steps: range) -> None:
        for step in steps:
            for parameter, gradient in zip(parameters, gradients[step], strict=True):
                parameter.grad = gradient.clone()
            optimizer.step()

    run(optimizer, uninterrupted, range(2))
    resumed = [nn.Parameter(item.detach().clone()) for item in uninterrupted]
    second = LARS(_groups(resumed, 0.0), 9.9)
    second.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    run(optimizer, uninterrupted, range(2, 4))
    run(second, resumed, range(2, 4))
    for one, other in zip(uninterrupted, resumed, strict=True):
        assert torch.equal(one, other)


def test_lars_with_a_closure_returns_its_loss_and_uses_its_gradient() -> None:
    """Guards Lightning's closures, which need gradients enabled."""
    parameter = nn.Parameter(torch.ones(2, 2))
    optimizer = LARS([{"params": [parameter], "adapt": False}], 0.5, momentum=0.0)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (parameter**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.0
    assert torch.equal(parameter, torch.zeros(2, 2))


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"lr": -1.0}, "--optim.lr"),
        ({"lr": 0.1, "momentum": 1.0}, "--optim.momentum"),
        ({"lr": 0.1, "weight_decay": -1.0}, "--optim.weight_decay"),
        ({"lr": 0.1, "trust_coefficient": 0.0}, "--optim.trust_coefficient"),
    ],
)
def test_lars_with_an_argument_out_of_range_names_the_flag(
    options: dict[str, float], flag: str
) -> None:
    """Guards against a wrong sign that would silently increase the loss."""
    with pytest.raises(ConfigError, match=flag):
        LARS(_parameters(), **options)
