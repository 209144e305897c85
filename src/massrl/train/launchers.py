"""What torchrun and SLURM tell a process of a run: its rank, restarts, requeueing."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Mapping

from massrl.distributed import World
from massrl.errors import ConfigError
from massrl.train.fabric import SLURMEnvironment

logger = logging.getLogger("massrl")

PLACE_VARIABLES = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
)


def launched_place(variables: Mapping[str, str] = os.environ) -> dict[str, str] | None:
    """Return torchrun's variables for a process that torchrun or SLURM started, else ``None``."""
    if "RANK" in variables and "WORLD_SIZE" in variables and "MASTER_ADDR" in variables:
        size = variables["WORLD_SIZE"]
        return {"LOCAL_WORLD_SIZE": size} | {
            name: variables[name] for name in PLACE_VARIABLES if name in variables
        }
    if "SLURM_PROCID" in variables and SLURMEnvironment.detect():
        try:
            slurm = SLURMEnvironment(auto_requeue=False)
        except RuntimeError as error:
            raise ConfigError(" ".join(str(error).split())) from None
        nodes = int(variables.get("SLURM_NNODES", "1"))
        return {
            "RANK": str(slurm.global_rank()),
            "WORLD_SIZE": str(slurm.world_size()),
            "LOCAL_RANK": str(slurm.local_rank()),
            "LOCAL_WORLD_SIZE": str(slurm.world_size() // nodes),
            "MASTER_ADDR": slurm.main_address,
            "MASTER_PORT": str(slurm.main_port),
        }
    return None


def place_of(place: Mapping[str, str]) -> World:
    """Return the place that a launcher's variables describe."""
    return World(
        rank=int(place["RANK"]),
        size=int(place["WORLD_SIZE"]),
        local_rank=int(place["LOCAL_RANK"]),
        local_size=int(place["LOCAL_WORLD_SIZE"]),
    )


def started_again() -> bool:
    """Return whether a launcher has restarted this run, after a failure or a preemption."""
    counts = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
    return any(int(os.environ.get(name, "0")) > 0 for name in counts)


def requeue() -> None:
    """Ask SLURM to requeue this job, which then resumes: its time was nearly up."""
    job = os.environ["SLURM_JOB_ID"]
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("SLURM did not requeue job %s: %s", job, error)
    else:
        logger.info("job %s is requeued, and will resume from here", job)
