"""The processes that train one run together: who is who, and what they tell each other.

One process leads: it writes the run folder and speaks. All of them hold the same weights, each sees
its own share of every batch. Without a group, as in most runs, there is one process, and every message
is to itself.
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
        rank: its number, from 0.
        size: how many there are.
        local_rank: its number on its own machine.
        local_size: how many there are on its machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    @property
    def nodes(self) -> int:
        """How many machines there are."""
        return self.size // self.local_size

    def broadcast(self, content: Any = None) -> Any:
        """Give every process what the one that leads gives."""
        box = [content]
        if self.size > 1:
            dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def all_gather_object(self, content: Any) -> list[Any]:
        """Give every process what each of them gives, in the order of their ranks."""
        boxes = [content] * self.size
        if self.size > 1:
            dist.all_gather_object(boxes, content)
        return boxes

    def exchange(self, values: Sequence[float]) -> Tensor:
        """Give every process a few numbers of each of them: float64 ``(size, len(values))``."""
        own = torch.tensor(values, dtype=torch.float64)
        rows = [torch.empty_like(own) for _ in range(self.size)]
        if self.size == 1:
            return own[None]
        dist.all_gather(rows, own)
        return torch.stack(rows)

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean over all processes, without a graph."""
        if self.size == 1:
            return tensor.detach()
        total = tensor.detach().clone()
        dist.all_reduce(total)
        return total / self.size

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Bring every gradient to its mean over all processes, in one message."""
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
    """Do something without the other processes, such as timing a step, while they wait."""
    before = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(before)


def world() -> World:
    """The place of this process in the group that is connected, by rank and size alone."""
    if not _ALONE.get() and dist.is_available() and dist.is_initialized():
        return World(rank=dist.get_rank(), size=dist.get_world_size())
    return World()


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """The sum over all processes; gradients of all of them flow back to each."""
    return _Summed.apply(tensor) if world().size > 1 else tensor


def all_gather_cat(tensor: Tensor, dim: int) -> tuple[Tensor, int]:
    """The tensors of all processes one after the other along a dimension, in which alone they differ.

    Returns:
        All of them; gradients of all processes flow back to each. And where one's own begins.
    """
    here = world()
    if here.size == 1:
        return tensor, 0
    lengths = here.exchange([tensor.shape[dim]]).int().flatten().tolist()
    return _Gathered.apply(tensor, dim, lengths, here.rank), sum(lengths[: here.rank])


class _Summed(torch.autograd.Function):
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


class _Gathered(torch.autograd.Function):
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
