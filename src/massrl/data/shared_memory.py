"""Room for batches that workers have finished: ``/dev/shm``, of which Docker gives a container 64 MB."""

from __future__ import annotations

import os

from massrl.data.worker_failures import SHARED_MEMORY
from massrl.errors import ConfigError

_BYTES_AHEAD = 2 << 30  # of finished batches that wait for the training process


def batches_ahead(batch_bytes: int, workers: int, room: int | None = None) -> int:
    """Return how many batches each worker may have ready: four, or as many as fit in 2 GiB and the room.

    Args:
        batch_bytes: size of one batch.
        workers: number of workers, at least 1.
        room: bytes of shared memory; ``None`` for no limit.

    Raises:
        ConfigError: if one batch of each worker, and the one in use, do not fit in the room.
    """
    ahead = max(1, min(4, _BYTES_AHEAD // max(1, batch_bytes * workers)))
    if room is None:
        return ahead
    fit = fitting_workers(workers, batch_bytes, room)
    if fit < workers:
        use = f"--data.workers {fit}" if fit else "--data.workers 0, which loads in this process"
        raise ConfigError(
            f"--data.workers is {workers}, each with a batch of {batch_bytes / 2**20:,.1f} MiB, but "
            f"{SHARED_MEMORY} has {room / 2**20:,.1f} MiB free: give the container more (docker run "
            f"--shm-size 2g), lower --data.batch_size, or use {use}"
        )
    return min(ahead, max(1, (room // max(1, batch_bytes) - 1) // workers))


def fitting_workers(workers: int, batch_bytes: int, room: int | None = None) -> int:
    """Return how many of these workers have room in shared memory for a batch each, and the one in use."""
    if room is None:
        room = free_room(1)
    return workers if room is None else max(0, min(workers, room // max(1, batch_bytes) - 1))


def free_room(processes: int) -> int | None:
    """Return the bytes of shared memory for one of several processes, ``None`` where none are set aside."""
    try:
        free = os.statvfs(SHARED_MEMORY)
    except (OSError, AttributeError):  # other systems than Linux
        return None
    return free.f_bavail * free.f_frsize // processes
