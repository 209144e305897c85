"""Lightning Fabric for one process of a run: its device and its precision.

``lightning_fabric`` is imported in place of ``lightning.fabric``, which loads all of Lightning first; and
only when a run needs it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from massrl.config.pretrain import TrainConfig
from massrl.distributed import World

if TYPE_CHECKING:
    from lightning_fabric import Fabric


# What Fabric reads as a number when it is imported.
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")


@contextmanager
def _without_torchmetrics() -> Iterator[None]:
    """Let ``import torchmetrics`` fail, unless it is imported already.

    Fabric imports it to read its version, for a callback that is not used here; it takes scipy and
    matplotlib along, which together load longer than torch.
    """
    if "torchmetrics" in sys.modules:
        yield
        return
    sys.modules["torchmetrics"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["torchmetrics"]


def make_fabric(train: TrainConfig, world: World) -> Fabric:
    """Return a Fabric with the device and the precision of this process.

    It has one device: communication between processes is ``World``'s.

    Args:
        train: ``accelerator`` and ``precision``.
        world: ranks of this process; ``local_rank`` is the index of its GPU.
    """
    for name in _RANKS:
        if name in os.environ and not os.environ[name].strip():
            del os.environ[name]  # empty: as good as not set
    with _without_torchmetrics():
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments.lightning import LightningEnvironment

    gpu = train.accelerator == "gpu"
    return Fabric(
        accelerator="cuda" if gpu else "cpu",
        devices=[world.local_rank] if gpu else 1,
        precision=train.precision,  # type: ignore[arg-type]
        plugins=[LightningEnvironment()],
    )


def slurm_main_address(hosts: str) -> str:
    """Return the first machine of SLURM's list of a job's machines, such as ``node[3-4,7]``."""
    with _without_torchmetrics():
        from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

    return str(SLURMEnvironment.resolve_root_node_address(hosts))


@contextmanager
def autocast(fabric: Fabric) -> Iterator[None]:
    """Run with the precision of the configuration, and without autocast's cache of cast weights.

    With the cache, the gradients of a weight that several views use would be added in half precision.
    """
    before = torch.is_autocast_cache_enabled()
    with fabric.autocast():
        torch.set_autocast_cache_enabled(False)
        try:
            yield
        finally:
            torch.set_autocast_cache_enabled(before)
