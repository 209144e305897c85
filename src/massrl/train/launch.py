"""Connect the processes of a run, started by massrl itself, by torchrun or by SLURM.

Every process reads its rank from torchrun's environment variables. Without a launcher the user's process is
the main one, and spawns a worker process for each additional device.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from threading import Event, Thread
from typing import IO

import torch
import torch.distributed as dist

from massrl.config.pretrain import TrainConfig
from massrl.distributed import World
from massrl.errors import ConfigError, TrainingError, counted
from massrl.runs.environment import detect_hardware
from massrl.train.launchers import (
    LAUNCH_VARIABLES,
    blocked_signals,
    ignore_time_limit_signal,
    launch_variables,
    world_of,
)
from massrl.train.rendezvous import LOOPBACK, fresh_store, loopback_variables, meeting_point

logger = logging.getLogger("massrl")

_LOST = "another process of the run has ended, or cannot be reached"
_TIMEOUT = timedelta(minutes=60)  # of a collective: other processes may still be opening the images
_GRACE_PERIOD = 20.0  # seconds for the other processes to exit


class LostError(TrainingError):
    """Another process of the run has ended, or cannot be reached."""


@contextmanager
def process_group(train: TrainConfig, *, gpu: bool) -> Iterator[World]:
    """Connect the processes of a run within this context, and yield the ranks of this process.

    Args:
        train: the configured number of devices and machines.
        gpu: whether the devices are GPUs.

    Raises:
        ConfigError: if a launcher has started another number of processes, or is missing.
        TrainingError: if another process ends before the run does.
    """
    variables = launch_variables()
    with ignore_time_limit_signal(), ExitStack() as stack:
        if variables is None:
            devices = train.devices or 1
            if (train.nodes or 1) > 1:
                raise ConfigError(
                    f"--train.nodes is {train.nodes}, but no launcher started this process: scripts/ shows "
                    f"how torchrun or srun starts one process for every device of every machine"
                )
            if devices == 1:
                yield World()
                return
            if gpu and devices > torch.cuda.device_count():
                found = counted(torch.cuda.device_count(), "GPU")
                raise ConfigError(f"--train.devices is {devices}, but this machine has {found}")
            variables = _local_variables(devices)
            stack.enter_context(_environment(variables))
            stack.enter_context(_local_workers(variables, gpu=gpu))
        else:
            stack.enter_context(_environment(variables))
        world = world_of(variables)
        _check_numbers(world, train)
        stack.enter_context(_connected(world, gpu=gpu))
        yield world


def _local_variables(devices: int) -> dict[str, str]:
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        port = free.getsockname()[1]
    values = ("0", str(devices), "0", str(devices), LOOPBACK, str(port))
    # Within torchrun, torch would look for torchrun's store instead.
    store = {"TORCHELASTIC_USE_AGENT_STORE": "False"}
    return dict(zip(LAUNCH_VARIABLES, values, strict=True)) | store


def _check_numbers(world: World, train: TrainConfig) -> None:
    for flag, configured, launched in (
        ("devices", train.devices, world.local_size),
        ("nodes", train.nodes, world.nodes),
    ):
        if configured is not None and configured != launched:
            raise ConfigError(
                f"--train.{flag} is {configured}, but the launcher has started processes for {launched}: "
                f"omit the flag, or start {configured}"
            )


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _local_workers(variables: Mapping[str, str], *, gpu: bool) -> Iterator[None]:
    """Spawn the worker processes of this machine, and wait for them to exit."""
    devices = int(variables["WORLD_SIZE"])
    shared = {**os.environ, **variables, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "massrl", "join", "gpu" if gpu else "cpu", str(os.getpid())]
    outputs = [tempfile.TemporaryFile() for _ in range(1, devices)]  # noqa: SIM115 (closed below)
    with blocked_signals():  # for ever in the workers: this process alone decides what stops a run
        workers = [
            subprocess.Popen(
                command, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}, stderr=output
            )
            for rank, output in enumerate(outputs, start=1)
        ]
    ended = Event()
    Thread(target=end_with, args=(workers, ended), daemon=True).start()
    try:
        yield
    except LostError as error:
        _wait_for(workers)
        raise LostError(_cause(outputs) or str(error)) from None
    except BaseException:
        for worker in workers:
            worker.kill()
        raise
    finally:
        ended.set()
        _wait_for(workers)
        for output in outputs:
            output.close()


def _wait_for(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    for worker in workers:
        try:
            worker.wait(_GRACE_PERIOD)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


def _cause(outputs: Sequence[IO[bytes]]) -> str | None:
    """Return the last line of a worker that reported its own error, ``None`` if there is none."""
    for rank, output in enumerate(outputs, start=1):
        output.seek(0)
        lines = output.read().decode(errors="replace").strip().splitlines()
        if lines and _LOST not in lines[-1]:
            return f"process {rank}: {lines[-1].removeprefix('massrl: ')}"
    return None


def end_without(parent: int) -> None:
    """Exit this process once its parent process is gone."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def end_with(workers: Sequence[subprocess.Popen[bytes]], ended: Event) -> None:
    """Exit this process when a worker has failed and the connection does not report it.

    On a CPU a lost connection raises an error at once. A GPU waits inside its driver, where neither errors
    nor signals arrive.
    """
    while not ended.wait(1.0):
        failed = [worker for worker in workers if worker.poll()]
        if failed and not ended.wait(_GRACE_PERIOD):
            logger.error(
                "a process of the run exited with code %d; massrl pretrain --resume RUN continues from the "
                "last checkpoint, if there is one",
                failed[0].returncode,
            )
            os._exit(2)


@contextmanager
def _connected(world: World, *, gpu: bool) -> Iterator[None]:
    """Initialise torch's process group, and turn connection errors into ``LostError``."""
    threads, stack = torch.get_num_threads(), ExitStack()
    if gpu:
        torch.cuda.set_device(world.local_rank)
    elif "OMP_NUM_THREADS" not in os.environ:
        # One thread per core, over all processes of this machine.
        torch.set_num_threads(max(1, detect_hardware("cpu").cores // world.local_size))
    try:
        if world.size > 1:
            backend = "cpu:gloo,cuda:nccl" if gpu else "gloo"
            stack.enter_context(_environment(loopback_variables(world)))
            dist.init_process_group(
                backend,
                store=fresh_store(meeting_point(world, timeout=_TIMEOUT), world),
                rank=world.rank,
                world_size=world.size,
                timeout=_TIMEOUT,
            )
        yield
    except RuntimeError as error:  # the type of torch's connection errors
        if world.size == 1 or not _is_lost(error):
            raise
        raise LostError(f"{_LOST} ({str(error).strip().splitlines()[0]})") from None
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
        stack.close()
        torch.set_num_threads(threads)


def _is_lost(error: RuntimeError) -> bool:
    text = str(error).lower()
    signs = ("connection", "gloo", "nccl", "tcpstore")
    return isinstance(error, dist.DistError) or any(sign in text for sign in signs)
