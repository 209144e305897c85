"""Two connected processes for tests of what they exchange."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from massrl.distributed import World

Work = Callable[[World], Any]


def in_two_processes(work: Work, folder: Path) -> list[Any]:
    """Call ``work`` in this process and in a spawned one, connected over the CPU.

    Args:
        work: a function of a module; what it returns is saved with ``torch.save``.
        folder: for files of the two processes.

    Returns:
        What both calls returned, by rank.
    """
    other = torch.multiprocessing.start_processes(  # type: ignore[no-untyped-call]
        _as_second, (work, folder), nprocs=1, join=False, start_method="spawn"
    )
    first = _connected(work, folder, rank=0)
    other.join()
    return [first, torch.load(folder / "second.pt", weights_only=False)]


def _as_second(_: int, work: Work, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.save(_connected(work, folder, rank=1), folder / "second.pt")


def _connected(work: Work, folder: Path, *, rank: int) -> Any:
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=2,
        timeout=timedelta(minutes=2),
    )
    try:
        return work(World(rank=rank, size=2, local_rank=rank, local_size=2))
    finally:
        dist.destroy_process_group()
