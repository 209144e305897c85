"""Batch normalisation over several processes, and in recomputed forward passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from massrl.distributed import all_reduce_sum
from massrl.errors import ConfigError

_PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def synchronise_batch_norm(network: nn.Module, *, gpu: bool) -> None:
    """Make every batch norm use the statistics of all processes' batches together.

    Args:
        network: changed in place; its parameters and buffers, and their names, stay the same.
        gpu: whether it will run on GPUs, for which torch has a synchronised batch norm.

    Raises:
        ConfigError: on a CPU, if the network has a batch norm other than torch's own classes.
    """
    for name, child in network.named_children():
        if gpu:
            from timm.layers import norm_act  # knows timm's own batch norms; slow to import

            setattr(network, name, norm_act.convert_sync_batchnorm(child))  # type: ignore[no-untyped-call]
        elif isinstance(child, _PLAIN):
            setattr(network, name, AllReduceBatchNorm.convert(child))
        elif isinstance(child, nn.modules.batchnorm._BatchNorm):
            raise ConfigError(
                f"{type(child).__name__} cannot be synchronised over processes on the CPU: "
                f"--train.devices 1, GPUs, or another --model.backbone fits it"
            )
        else:
            synchronise_batch_norm(child, gpu=gpu)


class AllReduceBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Synchronised batch norm for any process-group backend, CPU ones among them.

    Mean and variance are those of the global batch; the running variance is unbiased, as torch's is.
    """

    @classmethod
    def convert(cls, norm: Any) -> AllReduceBatchNorm:
        """Return a synchronised batch norm that shares parameters and buffers with ``norm``."""
        new = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        new._parameters, new._buffers = norm._parameters, norm._buffers
        new.training = norm.training
        return new

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 (torch's own name)
        pass

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Normalise float ``(B, C, …)``."""
        if not self.training and self.running_mean is not None:
            return super().forward(input)
        x = input.float() if input.element_size() < 4 else input
        axes = [0, *range(2, x.ndim)]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        own = x.new_tensor([x.numel() / x.shape[1]])
        sums = all_reduce_sum(torch.cat([x.sum(axes), own]))
        mean, count = sums[:-1] / sums[-1], sums[-1]
        centred = x - mean.view(shape)
        variance = all_reduce_sum(centred.square().sum(axes)) / count
        if self.running_mean is not None and self.running_var is not None:
            self._update_running(mean.detach(), variance.detach() * (count / (count - 1)))
        normal = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(input.dtype)

    @torch.no_grad()
    def _update_running(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(variance, weight)


@contextmanager
def preserve_buffers(network: nn.Module) -> Iterator[None]:
    """Let a forward pass change copies of the network's buffers, not the buffers themselves.

    A pass that is recomputed to save memory would otherwise count its batch twice in the running
    statistics of batch norm. Autograd may hold the buffers themselves, so they are not written to.
    """
    original = [(module, dict(module._buffers)) for module in network.modules() if module._buffers]
    for module, buffers in original:
        for name, buffer in buffers.items():
            module._buffers[name] = None if buffer is None else buffer.clone()
    try:
        yield
    finally:
        for module, buffers in original:
            module._buffers.update(buffers)
