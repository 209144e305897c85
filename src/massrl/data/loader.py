"""Batches of views: which images a step sees, and how they come to it.

The position of a run is its step number and nothing else: the order of an epoch is a pure function
of ``(seed, epoch)``, and so a loader can start at any step without having seen the ones before.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from massrl.data.source import Source
from massrl.errors import ConfigError, ImageError
from massrl.randomness import epoch_permutation

_BYTES_AHEAD = 2 << 30  # of finished batches that wait for the training process


class ViewPipeline(Protocol):
    """Makes the views of images, a function of the image, the epoch and the index alone."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of what is written for an image: uint8 ``(K, side, side, 3)``."""
        ...

    def write(
        self, image: bytes | NDArray[np.uint8], *, epoch: int, index: int, out: NDArray[np.uint8]
    ) -> Any:
        """Write one image's part of the batch into ``out``; give back what ``batch`` needs else."""
        ...

    def batch(self, pixels: Tensor, notes: list[Any]) -> Any:
        """From uint8 ``(K, B, side, side, 3)`` to what the training process is given."""
        ...


@dataclass(frozen=True)
class SampleKey:
    """One image in one epoch."""

    epoch: int
    index: int


class ViewBatch(NamedTuple):
    """The views of one batch of images.

    Attributes:
        views: uint8 ``(N, B, side, side, 3)``, RGB, each view a channels-last batch as it lies; or
            what a device makes them from.
        indices: int64 ``(B,)``, positions of the images in their source.
        failures: name of and reason for every image that could not be decoded; they are not in the
            batch.
    """

    views: Any
    indices: Tensor
    failures: list[tuple[str, str]]


class StepBatchSampler(Sampler[list[SampleKey]]):
    """The places of every batch from one optimiser step to another.

    Every epoch is a permutation of all images, cut into steps of ``batch_size``; what is left over
    at its end, less than a step, is left out. Each step is cut into ``accumulate`` batches, and each
    batch into one share for every process.

    Args:
        count: images in the source.
        batch_size: images of one optimiser step.
        seed: seed of the run.
        accumulate: batches of one optimiser step.
        start_step: first optimiser step.
        total_steps: optimiser step to stop before.
        share: which share is wanted, and of how many.

    Raises:
        ConfigError: if there are fewer images than one step needs.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        *,
        seed: int,
        accumulate: int = 1,
        start_step: int = 0,
        total_steps: int,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.steps_per_epoch = steps_per_epoch(count, batch_size)
        self._count = count
        self._batch_size = batch_size
        self._seed = seed
        self._accumulate = accumulate
        self._start_step = start_step
        self._total_steps = total_steps
        self._rank, self._processes = share

    @property
    def images(self) -> int:
        """Images of this process's share of one batch."""
        return self._batch_size // self._accumulate // self._processes

    def __len__(self) -> int:
        """Batches that are left."""
        return (self._total_steps - self._start_step) * self._accumulate

    def __iter__(self) -> Iterator[list[SampleKey]]:
        epoch, order = -1, np.empty(0, np.int64)
        for step in range(self._start_step, self._total_steps):
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                order = epoch_permutation(self._seed, epoch=epoch, count=self._count)
            first = step % self.steps_per_epoch * self._batch_size
            batch = self._batch_size // self._accumulate
            for begin in range(first, first + self._batch_size, batch):
                own = begin + self._rank * self.images
                yield [SampleKey(epoch, int(index)) for index in order[own : own + self.images]]


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Whole optimiser steps in one pass over ``count`` images.

    Raises:
        ConfigError: if there is not even one.
    """
    if count < 2:
        raise ConfigError(f"{count} images to learn from, but 2 or more are wanted (--data.train)")
    if count < batch_size:
        raise ConfigError(
            f"there are {count} images, fewer than one batch of {batch_size}: "
            f"lower --data.batch_size to {count} or less"
        )
    return count // batch_size


class ViewDataset(Dataset[ViewBatch]):
    """Makes whole batches: the loader asks it for a list of places at a time."""

    def __init__(self, source: Source, make_views: ViewPipeline) -> None:
        self._source = source
        self._make_views = make_views

    def __getitems__(self, places: list[SampleKey]) -> ViewBatch:
        """Decode every image once and make all its views, each where it stays in the batch."""
        kinds, *rest = self._make_views.shape
        pixels = _empty((kinds, len(places), *rest))
        slots = pixels.numpy()
        notes: list[Any] = []
        indices: list[int] = []
        failures: list[tuple[str, str]] = []
        for place in places:
            try:
                image = self._source.read(place.index)
                slot = slots[:, len(indices)]
                note = self._make_views.write(image, epoch=place.epoch, index=place.index, out=slot)
            except ImageError as error:
                failures.append((self._source.describe(place.index), error.reason))
            else:
                notes.append(note)
                indices.append(place.index)
        if failures:
            pixels = pixels[:, : len(indices)].contiguous()
        views = self._make_views.batch(pixels, notes)
        return ViewBatch(views, torch.tensor(indices, dtype=torch.int64), failures)


def _empty(shape: tuple[int, ...]) -> Tensor:
    """An uint8 tensor; in a worker, in memory that the training process shares, to save a copy."""
    if get_worker_info() is None or not hasattr(torch.UntypedStorage, "_new_shared"):
        return torch.empty(shape, dtype=torch.uint8)
    storage = torch.UntypedStorage._new_shared(math.prod(shape))  # type: ignore[no-untyped-call]
    return torch.empty(0, dtype=torch.uint8).set_(storage).view(shape)


def build_loader(
    source: Source,
    make_views: ViewPipeline,
    *,
    batches: StepBatchSampler,
    workers: int,
    pin: bool = False,
) -> DataLoader[ViewBatch]:
    """A loader over these batches; the same batches come for any number of workers.

    Args:
        source: the images.
        make_views: makes the views of one image.
        batches: which images, in which order.
        workers: processes; 0 loads in this one.
        pin: copy batches to pinned memory, for an accelerator.
    """
    cv2.setNumThreads(1)  # images are small and many: OpenCV's own threads only get in the way
    image_bytes = math.prod(make_views.shape)
    return DataLoader(
        ViewDataset(source, make_views),
        batch_sampler=batches,
        collate_fn=_as_it_is,
        num_workers=workers,
        worker_init_fn=_start_worker,
        pin_memory=pin,
        prefetch_factor=batches_ahead(batches.images * image_bytes, workers) if workers else None,
    )


def batches_ahead(batch_bytes: int, workers: int) -> int:
    """Batches that each worker may have ready: four, or as many as two gigabytes hold."""
    return max(1, min(4, _BYTES_AHEAD // max(1, batch_bytes * workers)))


def _as_it_is(batch: Any) -> Any:
    return batch


def _start_worker(_: int) -> None:
    """One thread each, and deaf to what stops a run: the training process decides when to stop.

    Ctrl-C, ``timeout`` and schedulers signal the whole group, SLURM with ``SIGUSR1`` where it is asked
    to. A worker whose parent is gone ends.
    """
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
        if hasattr(signal, name):  # not all of them on every system
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
