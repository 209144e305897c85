"""Launchers: ranks and restarts under torchrun and SLURM, and SLURM's time limit."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from massrl.distributed import World
from massrl.errors import ConfigError
from massrl.train.fabric import slurm_main_address

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
    """Return torchrun's variables for one of several processes of a launcher, else ``None``.

    Raises:
        ConfigError: if a launcher has started several processes, and a variable is missing or no rank.
    """
    given = {name: value.strip() for name, value in variables.items() if value.strip()}
    for launcher in _LAUNCHERS:
        found = launcher.read(given)
        if found is not None:
            return found if int(found["WORLD_SIZE"]) > 1 else None
    return None


@dataclass(frozen=True, kw_only=True)
class _Launcher:
    """Variables of a launcher.

    Attributes:
        name: the launcher, as the subject of a message.
        ranks: name of torchrun's variable -> the launcher's own.
        advice: what to do where one is missing.
    """

    name: str
    ranks: Mapping[str, str]
    advice: str

    def read(self, given: Mapping[str, str]) -> dict[str, str] | None:
        """Return torchrun's variables, with ``WORLD_SIZE`` alone for a single process.

        ``None``: the launcher has not started this process.
        """
        size = self.size(given)
        if size is None or size == 1:
            return None if size is None else {"WORLD_SIZE": "1"}
        found = {name: given[own] for name, own in self.ranks.items() if own in given}
        found = {**self.defaults(given, size), **found, "WORLD_SIZE": str(size)}
        own = {**dict.fromkeys(LAUNCH_VARIABLES), **self.ranks}
        missing = [own[name] or name for name in LAUNCH_VARIABLES if name not in found]
        if missing:
            raise ConfigError(
                f"{self.name} has started {size} processes, but {' and '.join(missing)} "
                f"{'is' if len(missing) == 1 else 'are'} not set: {self.advice}"
            )
        self._check(found, size)
        return {name: found[name] for name in LAUNCH_VARIABLES}

    def size(self, given: Mapping[str, str]) -> int | None:
        """Return the number of processes, ``None`` if the launcher has not started this one."""
        own = self.ranks["WORLD_SIZE"]
        return _number(own, given[own], least=1) if own in given else None

    def defaults(self, given: Mapping[str, str], size: int) -> dict[str, str]:
        """Return torchrun's variables as far as the launcher's ranks do not have them."""
        address = {name: given[name] for name in ("MASTER_ADDR", "MASTER_PORT") if name in given}
        return {"LOCAL_WORLD_SIZE": str(size), **address}

    def _check(self, found: Mapping[str, str], size: int) -> None:
        names = {**{name: name for name in LAUNCH_VARIABLES}, **self.ranks}
        local = _number(names["LOCAL_WORLD_SIZE"], found["LOCAL_WORLD_SIZE"], least=1, most=size)
        _number(names["RANK"], found["RANK"], most=size - 1)
        _number(names["LOCAL_RANK"], found["LOCAL_RANK"], most=local - 1)
        _number("MASTER_PORT", found["MASTER_PORT"], least=1, most=65535)


class _Torchrun(_Launcher):
    """torchrun, and all that set its variables: accelerate, Kubeflow, SageMaker."""

    def size(self, given: Mapping[str, str]) -> int | None:
        """See ``_Launcher.size``; with another's address, a rank above 0 is one of several processes."""
        if "WORLD_SIZE" not in given and "MASTER_ADDR" in given and given.get("RANK", "0") != "0":
            raise ConfigError(f"RANK is {given['RANK']}, but WORLD_SIZE is not set: {self.advice}")
        return super().size(given)


class _Slurm(_Launcher):
    """srun; not a shell on a node, which is no task."""

    def size(self, given: Mapping[str, str]) -> int | None:
        """See ``_Launcher.size``.

        Raises:
            ConfigError: if SLURM has reserved several tasks, and none is this process.
        """
        if given.get("SLURM_JOB_NAME") in ("bash", "interactive") or "SLURM_PROCID" not in given:
            return None
        size = super().size(given)
        if size not in (None, 1) and not {"SLURM_STEP_ID", "SLURM_STEPID"} & given.keys():
            raise ConfigError(
                f"SLURM has reserved {size} tasks (SLURM_NTASKS), but srun did not start this process "
                f"(SLURM_STEP_ID is not set): put srun before the command, or reserve --ntasks 1"
            )
        return size

    def defaults(self, given: Mapping[str, str], size: int) -> dict[str, str]:
        """See ``_Launcher.defaults``: the step's first node, and a port made from the job's number."""

        def of_step(name: str, of_job: str, default: str) -> str:
            return given.get(f"SLURM_STEP_{name}", given.get(f"SLURM_{of_job}", default))

        nodes = _number("SLURM_NNODES", of_step("NUM_NODES", "NNODES", "1"), least=1)
        if size % nodes:
            raise ConfigError(
                f"SLURM has started {size} tasks on {nodes} nodes, which is not the same number on each: "
                f"use --ntasks-per-node"
            )
        job = _number("SLURM_JOB_ID", given.get("SLURM_JOB_ID", "0"))
        hosts = of_step("NODELIST", "NODELIST", given.get("SLURM_JOB_NODELIST", "127.0.0.1"))
        return {
            **super().defaults(given, size),
            "LOCAL_WORLD_SIZE": str(size // nodes),
            "MASTER_ADDR": given.get("MASTER_ADDR") or slurm_main_address(hosts),
            "MASTER_PORT": given.get("MASTER_PORT", str(15000 + job % 10000)),
        }


_MPI_ADVICE = (
    "start with torchrun; or give MASTER_ADDR, the host of rank 0, and MASTER_PORT, a free port of it, to "
    "all processes (mpirun -x MASTER_ADDR=HOST -x MASTER_PORT=29500)"
)
_LAUNCHERS = (
    _Torchrun(
        name="a launcher (WORLD_SIZE)",
        ranks={name: name for name in LAUNCH_VARIABLES},
        advice="start with torchrun; where each machine has one process (Kubeflow's PyTorchJob), set "
        "LOCAL_RANK=0 and LOCAL_WORLD_SIZE=1; or unset RANK and WORLD_SIZE to train in this process alone",
    ),
    _Launcher(
        name="mpirun",
        ranks={
            "RANK": "OMPI_COMM_WORLD_RANK",
            "WORLD_SIZE": "OMPI_COMM_WORLD_SIZE",
            "LOCAL_RANK": "OMPI_COMM_WORLD_LOCAL_RANK",
            "LOCAL_WORLD_SIZE": "OMPI_COMM_WORLD_LOCAL_SIZE",
        },
        advice=_MPI_ADVICE,
    ),
    _Slurm(
        name="SLURM",
        ranks={"RANK": "SLURM_PROCID", "WORLD_SIZE": "SLURM_NTASKS", "LOCAL_RANK": "SLURM_LOCALID"},
        advice="pass SLURM's variables on to a container, or set SLURM_NTASKS=1 to train in this process "
        "alone",
    ),
    _Launcher(
        name="mpiexec",
        ranks={
            "RANK": "PMI_RANK",
            "WORLD_SIZE": "PMI_SIZE",
            "LOCAL_RANK": "MPI_LOCALRANKID",
            "LOCAL_WORLD_SIZE": "MPI_LOCALNRANKS",
        },
        advice=_MPI_ADVICE,
    ),
)
"""In order: mpirun within a SLURM job has SLURM's variables too, and srun sets MPICH's."""


def _number(name: str, text: str, *, least: int = 0, most: int | None = None) -> int:
    """Return the whole number in a variable.

    Raises:
        ConfigError: if it is none, or out of bounds.
    """
    number = int(text) if text.isdecimal() and text.isascii() else -1
    if number < least or (most is not None and number > most):
        bounds = f"{least} or more" if most is None else f"from {least} to {most}"
        raise ConfigError(f"{name} is {text!r}, but a whole number {bounds} is needed")
    return number


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
    return any(_number(name, os.environ.get(name) or "0") > 0 for name in counts)


def stop_signals() -> list[signal.Signals]:
    """Return SIGINT and SIGTERM; under SLURM also SIGUSR1, which it sends before the time limit."""
    slurm = [signal.Signals[TIME_LIMIT_SIGNAL]] if "SLURM_JOB_ID" in os.environ else []
    return [signal.SIGINT, signal.SIGTERM, *slurm]


@contextmanager
def blocked_signals() -> Iterator[None]:
    """Block SIGINT and SIGTERM within this context, and for ever in processes that are started in it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def ignore_time_limit_signal() -> Iterator[None]:
    """Ignore SLURM's signal within this context, unless it has a handler or is blocked.

    By default it would end the process; the command line blocks it, for scripts it is ignored here.
    ``SignalHandler`` handles it during training.
    """
    # To ignore a signal that is blocked would lose one that has arrived.
    blocked = (
        signal.pthread_sigmask(signal.SIG_BLOCK, []) if hasattr(signal, "pthread_sigmask") else ()
    )
    ignored = [
        number
        for number in stop_signals()
        if number.name == TIME_LIMIT_SIGNAL
        and signal.getsignal(number) == signal.SIG_DFL
        and number not in blocked
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
