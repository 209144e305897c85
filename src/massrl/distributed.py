"""Collective operations over the processes of a run: data parallelism.

All processes hold the same weights, and each computes its own part of every batch. The main process
writes the run folder and the log. Without a process group there is one process, and every collective
returns its argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class World:
    """Ranks of this process, and its collective operations with the other processes of a run.

    Attributes:
        rank: index of this process, from 0.
        size: number of processes.
        local_rank: index of this process on its machine.
        local_size: number of processes on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes the run folder and the log."""
        return self.rank == 0

    @property
    def nodes(self) -> int:
        """Number of machines."""
        return self.size // self.local_size

    def broadcast(self, content: Any = None) -> Any:
        """Return the main process's content, in every process."""
        box = [content]
        if self.size > 1:
            dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def all_gather_object(self, content: Any) -> list[Any]:
        """Return the contents of all processes, in the order of their ranks."""
        boxes = [content] * self.size
        if self.size > 1:
            dist.all_gather_object(boxes, content)
        return boxes

    def all_gather_numbers(self, values: Sequence[float]) -> Tensor:
        """All-gather a few numbers and return float64 ``(size, len(values))``."""
        own = torch.tensor(values, dtype=torch.float64)
        rows = [torch.empty_like(own) for _ in range(self.size)]
        if self.size == 1:
            return own[None]
        dist.all_gather(rows, own)
        return torch.stack(rows)

    def mean(self, tensor: Tensor) -> Tensor:
        """Return the mean over all processes, detached."""
        if self.size == 1:
            return tensor.detach()
        total = tensor.detach().clone()
        dist.all_reduce(total)
        return total / self.size

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient by its mean over all processes, in one all-reduce."""
        if self.size == 1:
            return
        gradients = [item.grad for item in parameters if item.grad is not None]
        flat = self.mean(torch.cat([item.flatten() for item in gradients]))
        parts = torch.split(flat, [item.numel() for item in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))


_ALONE: ContextVar[bool] = ContextVar("alone", default=False)


@contextmanager
def alone() -> Iterator[None]:
    """Compute in this process alone within this context, while the others wait."""
    before = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(before)


def world() -> World:
    """Return this process's rank and size in the current process group."""
    if not _ALONE.get() and dist.is_available() and dist.is_initialized():
        return World(rank=dist.get_rank(), size=dist.get_world_size())
    return World()


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """Return the sum over all processes; differentiable."""
    return _AllReduceSum.apply(tensor) if world().size > 1 else tensor


def all_gather_cat(tensor: Tensor, dim: int) -> tuple[Tensor, int]:
    """Concatenate the tensors of all processes along a dimension; differentiable.

    Args:
        tensor: this process's part; sizes may differ between processes along ``dim`` only.
        dim: the dimension.

    Returns:
        The concatenation, and the index at which this process's part begins.
    """
    here = world()
    if here.size == 1:
        return tensor, 0
    lengths = here.all_gather_numbers([tensor.shape[dim]]).int().flatten().tolist()
    return _AllGatherCat.apply(tensor, dim, lengths, here.rank), sum(lengths[: here.rank])


class _AllReduceSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].clone()
        dist.all_reduce(total)
        return total


class _AllGatherCat(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, dim: int, lengths: list[int], rank: int) -> Tensor:
        ctx.own_part = dim, sum(lengths[:rank]), lengths[rank]
        shape = list(tensor.shape)
        shape[dim] = max(lengths)
        own = tensor.new_zeros(shape)
        own.narrow(dim, 0, lengths[rank]).copy_(tensor)
        parts = [torch.empty_like(own) for _ in lengths]
        dist.all_gather(parts, own)
        cut = [part.narrow(dim, 0, length) for part, length in zip(parts, lengths, strict=True)]
        return torch.cat(cut, dim)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        return total.narrow(*ctx.own_part), None, None, None
