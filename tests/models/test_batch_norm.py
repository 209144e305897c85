"""Batch norm over processes, and in forward passes that are recomputed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from massrl.errors import ConfigError
from massrl.models.batch_norm import AllReduceBatchNorm, preserve_buffers, synchronise_batch_norm


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 4, 3)])
def test_batch_norm_of_one_process_is_torchs(
    shape: tuple[int, ...], momentum: float | None
) -> None:
    """Guards formula, gradient and running statistics against torch's own, in 64 bits."""
    kind = nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d
    theirs = nn.Sequential(kind(5, momentum=momentum)).double()
    with torch.no_grad():
        theirs[0].weight.uniform_(0.5, 2)
        theirs[0].bias.normal_()
    ours = nn.Sequential(kind(5, momentum=momentum)).double()
    ours.load_state_dict(theirs.state_dict())
    names = list(ours.state_dict())
    synchronise_batch_norm(ours, gpu=False)
    assert isinstance(ours[0], AllReduceBatchNorm)
    assert list(ours.state_dict()) == names
    for _ in range(3):
        x = torch.randn(shape, dtype=torch.float64) * 3 + 1
        y = torch.randn(shape, dtype=torch.float64)
        grads = []
        for network in (theirs, ours):
            inputs = x.clone().requires_grad_()
            (network(inputs) * y).sum().backward()
            grads.append([inputs.grad, *(item.grad for item in network.parameters())])
        for one, other in zip(*grads, strict=True):
            assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)
    for name, tensor in theirs.state_dict().items():
        assert torch.allclose(tensor.double(), ours.state_dict()[name].double()), name
    assert torch.allclose(theirs.eval()(x), ours.eval()(x))


def test_half_precision_input_is_normalised_in_32_bits() -> None:
    """Guards the variance: in 16 bits the squares of common activations overflow."""
    norm = AllReduceBatchNorm.convert(nn.BatchNorm1d(2))
    x = torch.tensor([[300.0, 1.0], [500.0, 3.0]], dtype=torch.float16)
    y = norm(x)
    assert y.dtype == torch.float16
    assert torch.allclose(y.float(), torch.tensor([[-1.0, -1.0], [1.0, 1.0]]), atol=1e-2)
    assert norm.running_var is not None
    assert torch.allclose(norm.running_var, torch.tensor([2000.9, 1.1]), rtol=1e-3)


def test_parameters_are_shared_with_the_replaced_batch_norm() -> None:
    """Guards an optimiser that was made before: it must train the same tensors afterwards."""
    norm = nn.BatchNorm1d(3).eval()
    new = AllReduceBatchNorm.convert(norm)
    assert new.weight is norm.weight
    assert new.running_mean is norm.running_mean
    assert not new.training


def test_batch_norm_of_another_class_is_refused_on_the_cpu() -> None:
    """Guards against one that silently uses the statistics of its own process."""

    class Own(nn.modules.batchnorm._BatchNorm):
        pass

    with pytest.raises(ConfigError, match="Own cannot be synchronised"):
        synchronise_batch_norm(nn.Sequential(nn.Sequential(Own(3))), gpu=False)


def test_recomputed_pass_gives_the_same_output_and_leaves_the_statistics() -> None:
    """Guards running statistics against counting a recomputed batch twice."""
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    x = torch.randn(5, 3)
    first = network(x)
    before = {name: item.clone() for name, item in network.named_buffers()}
    with preserve_buffers(network):
        again = network(x)
        assert int(network[1].num_batches_tracked) == 2
    assert torch.equal(first, again)
    for name, item in network.named_buffers():
        assert torch.equal(item, before[name]), name


def test_statistics_are_restored_after_an_error() -> None:
    """Guards a network whose recomputed pass fails, such as for want of memory."""
    network = nn.BatchNorm1d(2)
    mean = network.running_mean
    with pytest.raises(ValueError, match="expected 2D"), preserve_buffers(network):
        network(torch.zeros(3))
    assert network.running_mean is mean
