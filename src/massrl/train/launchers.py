"""Launchers: ranks and restarts under torchrun and SLURM, and SLURM's time limit."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from massrl.distributed import World
from massrl.errors import ConfigError
from massrl.train.fabric import SLURMEnvironment

logger = logging.getLogger("massrl")

TIME_LIMIT_SIGNAL = "SIGUSR1"
"""The signal that SLURM sends before a job's time limit, with ``--signal=SIGUSR1@…``."""
LAUNCH_VARIABLES = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
)


def launch_variables(variables: Mapping[str, str] = os.environ) -> dict[str, str] | None:
    """Return torchrun's variables for a process that torchrun or SLURM started, else ``None``."""
    if "RANK" in variables and "WORLD_SIZE" in variables and "MASTER_ADDR" in variables:
        size = variables["WORLD_SIZE"]
        return {"LOCAL_WORLD_SIZE": size} | {
            name: variables[name] for name in LAUNCH_VARIABLES if name in variables
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


def world_of(variables: Mapping[str, str]) -> World:
    """Return the ranks in torchrun's variables."""
    return World(
        rank=int(variables["RANK"]),
        size=int(variables["WORLD_SIZE"]),
        local_rank=int(variables["LOCAL_RANK"]),
        local_size=int(variables["LOCAL_WORLD_SIZE"]),
    )


def is_restart() -> bool:
    """Return whether a launcher has restarted this run, after a failure or a preemption."""
    counts = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
    return any(int(os.environ.get(name, "0")) > 0 for name in counts)


def stop_signals() -> list[signal.Signals]:
    """Return SIGINT and SIGTERM; under SLURM also SIGUSR1, which it sends before the time limit."""
    slurm = [signal.Signals[TIME_LIMIT_SIGNAL]] if "SLURM_JOB_ID" in os.environ else []
    return [signal.SIGINT, signal.SIGTERM, *slurm]


@contextmanager
def ignore_time_limit_signal() -> Iterator[None]:
    """Ignore SLURM's signal within this context, unless it has a handler.

    By default it would end the process. ``SignalHandler`` handles it during training; before and after
    that there is nothing to save.
    """
    ignored = [
        number
        for number in stop_signals()
        if number.name == TIME_LIMIT_SIGNAL
        and signal.getsignal(number) == signal.SIG_DFL
        and threading.current_thread() is threading.main_thread()  # only it can set handlers
    ]
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_DFL)


def requeue() -> None:
    """Requeue this SLURM job, which then resumes the run."""
    job = os.environ["SLURM_JOB_ID"]
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("SLURM did not requeue job %s: %s", job, error)
    else:
        logger.info("SLURM has requeued job %s, which will resume from here", job)
