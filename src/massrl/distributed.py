"""The processes that train one run together: their ranks, and what they exchange.

The main process writes the run folder and logs. All processes hold the same weights, and each sees its
own part of every batch. Without a process group, as in most runs, there is one process, and every
exchange returns what it was given.
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
    """One process's place among those of a run.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
        local_rank: number of this process on its own machine.
        local_size: number of processes on its machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and logs."""
        return self.rank == 0

    @property
    def nodes(self) -> int:
        """Number of machines."""
        return self.size // self.local_size

    def broadcast(self, content: Any = None) -> Any:
        """Return, in every process, what the main process gives."""
        box = [content]
        if self.size > 1:
            dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def all_gather_object(self, content: Any) -> list[Any]:
        """Return what each process gives, in the order of their ranks."""
        boxes = [content] * self.size
        if self.size > 1:
            dist.all_gather_object(boxes, content)
        return boxes

    def exchange(self, values: Sequence[float]) -> Tensor:
        """All-gather a few numbers: float64 ``(size, len(values))``."""
        own = torch.tensor(values, dtype=torch.float64)
        rows = [torch.empty_like(own) for _ in range(self.size)]
        if self.size == 1:
            return own[None]
        dist.all_gather(rows, own)
        return torch.stack(rows)

    def mean(self, tensor: Tensor) -> Tensor:
        """Return the mean over all processes, without an autograd graph."""
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
    """Run something in this process alone, such as timing a step, while the others wait."""
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
    """Return the sum over all processes; gradients of all of them flow back to each."""
    return _AllReduceSum.apply(tensor) if world().size > 1 else tensor


def all_gather_cat(tensor: Tensor, dim: int) -> tuple[Tensor, int]:
    """Concatenate the tensors of all processes along a dimension, the only one in which they may differ.

    Returns:
        The concatenation, through which gradients of all processes flow back to each; and where this
        process's part begins.
    """
    here = world()
    if here.size == 1:
        return tensor, 0
    lengths = here.exchange([tensor.shape[dim]]).int().flatten().tolist()
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
        ctx.place = dim, sum(lengths[:rank]), lengths[rank]
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
        return total.narrow(*ctx.place), None, None, None
