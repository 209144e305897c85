"""Batches of views: the images of each step, read and turned into views in worker processes.

The order of an epoch is a pure function of ``(seed, epoch)``, so that a loader can start at any step
without going through the steps before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.context import get_spawning_popen
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from massrl.data.handover import Handover, read_content
from massrl.data.shared_memory import batches_ahead, free_room
from massrl.data.source import Source
from massrl.data.worker_failures import errno_of
from massrl.data.workers import Loader, start_worker
from massrl.errors import ConfigError, ImageError, MassrlError, TrainingError, counted, users_fault
from massrl.images.reading import read_image
from massrl.randomness import epoch_permutation


class ViewPipeline(Protocol):
    """Makes the views of an image, as a function of the image, the epoch and the index alone."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of what ``write`` fills for one image: uint8 ``(K, side, side, 3)``."""
        ...

    def write(
        self, image: bytes | NDArray[np.uint8], *, epoch: int, index: int, out: NDArray[np.uint8]
    ) -> Any:
        """Write one image's part of the batch into ``out``; return what else ``batch`` needs."""
        ...

    def batch(self, pixels: Tensor, notes: list[Any]) -> Any:
        """Turn uint8 ``(K, B, side, side, 3)`` into what the training process receives."""
        ...


@dataclass(frozen=True)
class SampleKey:
    """One image in one epoch; its views are a function of both numbers and the run's seed."""

    epoch: int
    index: int


class ViewBatch(NamedTuple):
    """The views of one batch of images.

    Attributes:
        views: uint8 ``(N, B, side, side, 3)``, RGB, each view a contiguous channels-last batch; or what
            the accelerator makes them from.
        indices: int64 ``(B,)``, positions of the images in their source.
        failures: name and reason of every image that could not be decoded; they are not in the batch.
    """

    views: Any
    indices: Tensor
    failures: list[tuple[str, str]]


class StepBatchSampler(Sampler[list[SampleKey]]):
    """Yield the keys of every batch, from one optimiser step to another.

    Every epoch is a permutation of all images, split into steps of ``batch_size``; an incomplete last
    step is dropped. Each step is split into ``accumulate`` batches, and each batch into one part for
    every process.

    Args:
        count: number of images in the source.
        batch_size: unique images of one optimiser step, over all processes.
        seed: seed of the run.
        accumulate: batches of one optimiser step.
        start_step: first optimiser step.
        total_steps: optimiser step to stop before.
        share: rank of this process, and number of processes.

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
        self._rank, self._num_processes = share

    @property
    def images(self) -> int:
        """Number of images of this process in one batch."""
        return self._batch_size // self._accumulate // self._num_processes

    def __len__(self) -> int:
        """Return the number of batches."""
        return (self._total_steps - self._start_step) * self._accumulate

    def __iter__(self) -> Iterator[list[SampleKey]]:
        yield from self.steps(self._start_step, self._total_steps)

    def steps(self, first: int, last: int) -> Iterator[list[SampleKey]]:
        """Yield the batches of the optimiser steps from ``first`` to before ``last``."""
        epoch, order = -1, np.empty(0, np.int64)
        for step in range(first, last):
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                order = epoch_permutation(self._seed, epoch=epoch, count=self._count)
            offset = step % self.steps_per_epoch * self._batch_size
            batch = self._batch_size // self._accumulate
            for begin in range(offset, offset + self._batch_size, batch):
                own = begin + self._rank * self.images
                yield [SampleKey(epoch, int(index)) for index in order[own : own + self.images]]


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Return the number of complete optimiser steps in one epoch of ``count`` images.

    Raises:
        ConfigError: if there is none.
    """
    if count < 2:
        raise ConfigError(
            f"{counted(count, 'image')} to train on; at least 2 are needed (--data.train)"
        )
    if count < batch_size:
        raise ConfigError(
            f"there are {count} images, fewer than one batch of {batch_size}: "
            f"lower --data.batch_size to {count} or less"
        )
    return count // batch_size


class ViewDataset(Dataset[ViewBatch]):
    """Make whole batches: the loader passes the keys of a batch at a time.

    Args:
        source: the images.
        make_views: makes the views of one image.
    """

    def __init__(self, source: Source, make_views: ViewPipeline) -> None:
        self._source = source
        self._make_views = make_views
        self._handover: Handover | None = None

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle the path of a file with the contents, if it is for a process that is being spawned."""
        if get_spawning_popen() is None:
            return super().__reduce_ex__(protocol)
        self._handover = self._handover or Handover((self._source, self._make_views))
        return _HandedOver, (self._handover.path,)

    def __getitems__(self, keys: list[SampleKey]) -> ViewBatch:
        """Read every image once and write all its views directly into the batch.

        Raises:
            TrainingError: in a worker, for an error of the user's own code, whose line is known only there.
        """
        try:
            return self._batch(keys)
        except Exception as error:
            known = isinstance(error, MassrlError) or errno_of(error) is not None
            if known or get_worker_info() is None or (fault := users_fault(error)) is None:
                raise
            raise TrainingError(fault) from None

    def _batch(self, keys: list[SampleKey]) -> ViewBatch:
        num_views, *rest = self._make_views.shape
        pixels = _empty((num_views, len(keys), *rest))
        slots = pixels.numpy()
        notes: list[Any] = []
        indices: list[int] = []
        failures: list[tuple[str, str]] = []
        for key in keys:
            try:
                image = read_image(self._source, key.index)
                slot = slots[:, len(indices)]
                note = self._make_views.write(image, epoch=key.epoch, index=key.index, out=slot)
            except ImageError as error:
                if error.__context__ is not None and errno_of(error.__context__) is not None:
                    raise error.__context__ from None  # the machine fails, not the image
                failures.append((self._source.describe(key.index), error.reason))
            else:
                notes.append(note)
                indices.append(key.index)
        if failures:
            pixels = pixels[:, : len(indices)].contiguous()
        views = self._make_views.batch(pixels, notes)
        return ViewBatch(views, torch.tensor(indices, dtype=torch.int64), failures)


class _HandedOver(Dataset[ViewBatch]):
    """A ``ViewDataset`` in a spawned worker; read with the first batch, so that errors are reported."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._dataset: ViewDataset | None = None

    def __getitems__(self, keys: list[SampleKey]) -> ViewBatch:
        if self._dataset is None:
            self._dataset = ViewDataset(*read_content(self._path))
        return self._dataset.__getitems__(keys)


def _empty(shape: tuple[int, ...]) -> Tensor:
    """Return an uninitialised uint8 tensor; in a worker in shared memory, which saves a copy."""
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
    share_room: int = 1,
) -> DataLoader[ViewBatch]:
    """Build a loader; it yields the same batches for any number of workers.

    Args:
        source: the images.
        make_views: makes the views of one image.
        batches: keys of every batch.
        workers: number of processes; 0 loads in this one.
        pin: whether batches are copied to pinned memory, for an accelerator.
        share_room: processes of this machine that load at the same time.

    Raises:
        ConfigError: if the workers' batches do not fit in shared memory.
    """
    cv2.setNumThreads(1)  # images are small and many: OpenCV's own threads only slow them down
    batch_bytes = batches.images * math.prod(make_views.shape)
    return Loader(
        ViewDataset(source, make_views),
        batch_sampler=batches,
        collate_fn=_identity,
        num_workers=workers,
        worker_init_fn=start_worker,
        pin_memory=pin,
        prefetch_factor=batches_ahead(batch_bytes, workers, free_room(share_room))
        if workers
        else None,
    )


def _identity(batch: Any) -> Any:
    return batch
