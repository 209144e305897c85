"""Batch normalisation in a forward pass that is made a second time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def buffers_kept(network: nn.Module) -> Iterator[None]:
    """Let a forward pass change copies of the network's buffers, not the buffers themselves.

    A pass that is made again, to save memory, would else count its batch twice in the running
    statistics of batch norm. Autograd may hold the buffers themselves, so they are not written to.
    """
    kept = [(module, dict(module._buffers)) for module in network.modules() if module._buffers]
    for module, buffers in kept:
        for name, buffer in buffers.items():
            module._buffers[name] = None if buffer is None else buffer.clone()
    try:
        yield
    finally:
        for module, buffers in kept:
            module._buffers.update(buffers)
