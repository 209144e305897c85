"""Brings the processes of a run together: started by us, by torchrun or by SLURM.

Whoever starts them, each finds its place in the variables that torchrun sets. Without a launcher
the process that the user started leads, and starts one more for each further device of its machine.
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
from uuid import uuid4

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from massrl.config.pretrain import TrainConfig
from massrl.distributed import World
from massrl.errors import ConfigError, TrainingError
from massrl.runs.environment import detect_hardware

logger = logging.getLogger("massrl")

_LOST = "another process of the run has ended, or cannot be reached"
_PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_LONGEST_STEP = timedelta(minutes=60)  # of what others wait for: opening the images is part of it
_LAST_WORDS = 20.0  # seconds that the other processes are given to end


class LostError(TrainingError):
    """Another process of the run has ended, or cannot be reached."""


@contextmanager
def process_group(train: TrainConfig, *, gpu: bool) -> Iterator[World]:
    """This process's place in its run, with the others of the run connected for as long as this lasts.

    Args:
        train: how many devices and machines are asked for.
        gpu: whether they are GPUs.

    Raises:
        ConfigError: if a launcher has started other processes than are asked for, or is missing.
        TrainingError: if one of the processes ends before the run does.
    """
    place = launched_place()
    with ExitStack() as stack:
        if place is None:
            devices = train.devices or 1
            if (train.nodes or 1) > 1:
                raise ConfigError(
                    f"--train.nodes is {train.nodes}, but this process was started alone: scripts/ shows "
                    f"how torchrun or srun starts one for every device of every machine"
                )
            if devices == 1:
                yield World()
                return
            if gpu and devices > torch.cuda.device_count():
                raise ConfigError(
                    f"--train.devices is {devices}, but this machine has {torch.cuda.device_count()} GPUs"
                )
            place = _own_place(devices)
            stack.enter_context(_environment(place))
            stack.enter_context(_others(place, gpu=gpu))
        else:
            stack.enter_context(_environment(place))
        here = place_of(place)
        _check(here, train)
        stack.enter_context(_group(here, gpu=gpu))
        yield here


def launched_place(variables: Mapping[str, str] = os.environ) -> dict[str, str] | None:
    """The variables of a process that torchrun or SLURM started, ``None`` for one of the user's own."""
    if "RANK" in variables and "WORLD_SIZE" in variables and "MASTER_ADDR" in variables:
        size = variables["WORLD_SIZE"]
        return {"LOCAL_WORLD_SIZE": size} | {
            name: variables[name] for name in _PLACE if name in variables
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
    """What a launcher's variables say."""
    return World(
        rank=int(place["RANK"]),
        size=int(place["WORLD_SIZE"]),
        local_rank=int(place["LOCAL_RANK"]),
        local_size=int(place["LOCAL_WORLD_SIZE"]),
    )


def started_again() -> bool:
    """Whether a launcher has started this run anew, after a failure or a preemption."""
    counts = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
    return any(int(os.environ.get(name, "0")) > 0 for name in counts)


def requeue() -> None:
    """Ask SLURM to start this job again, where it goes on: its time was nearly up."""
    job = os.environ["SLURM_JOB_ID"]
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("SLURM did not take job %s back into its queue: %s", job, error)
    else:
        logger.info("job %s is in SLURM's queue again, and goes on from here", job)


def _own_place(devices: int) -> dict[str, str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    values = ("0", str(devices), "0", str(devices), "127.0.0.1", str(port))
    return dict(zip(_PLACE, values, strict=True))


def _check(here: World, train: TrainConfig) -> None:
    for flag, asked, found in (
        ("devices", train.devices, here.local_size),
        ("nodes", train.nodes, here.nodes),
    ):
        if asked is not None and asked != found:
            raise ConfigError(
                f"--train.{flag} is {asked}, but the launcher has started processes for {found}: "
                f"leave it out, or start as many"
            )


@contextmanager
def _environment(place: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in place}
    os.environ.update(place)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _others(place: Mapping[str, str], *, gpu: bool) -> Iterator[None]:
    """The other processes of this machine, started and seen to their end."""
    devices = int(place["WORLD_SIZE"])
    shared = {**os.environ, **place, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "massrl", "join", "gpu" if gpu else "cpu", str(os.getpid())]
    words = [tempfile.TemporaryFile() for _ in range(1, devices)]  # noqa: SIM115 (closed below)
    others = [
        subprocess.Popen(
            command, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}, stderr=said
        )
        for rank, said in enumerate(words, start=1)
    ]
    ended = Event()
    Thread(target=end_with, args=(others, ended), daemon=True).start()
    try:
        yield
    except LostError as error:
        _see_off(others)
        raise LostError(_cause(words) or str(error)) from None
    except BaseException:
        for other in others:
            other.terminate()
        raise
    finally:
        ended.set()
        _see_off(others)
        for said in words:
            said.close()


def _see_off(others: Sequence[subprocess.Popen[bytes]]) -> None:
    for other in others:
        try:
            other.wait(_LAST_WORDS)
        except subprocess.TimeoutExpired:
            other.kill()
            other.wait()


def _cause(words: Sequence[IO[bytes]]) -> str | None:
    """What another process said of an error of its own, its last line; ``None`` if it was killed."""
    for rank, said in enumerate(words, start=1):
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
        if lines and _LOST not in lines[-1]:
            return f"process {rank}: {lines[-1].removeprefix('massrl: ')}"
    return None


def end_without(parent: int) -> None:
    """End this process once the one that started it is gone, however that came."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def end_with(others: Sequence[subprocess.Popen[bytes]], ended: Event) -> None:
    """End this process when another one has failed and the connection does not tell it so.

    On a CPU the lost connection is an error at once. A GPU waits for the others inside its driver, where
    no error and no signal reaches it.
    """
    while not ended.wait(1.0):
        failed = [other for other in others if other.poll()]
        if failed and not ended.wait(_LAST_WORDS):
            logger.error(
                "a process of the run has ended with code %d, and this one waits for it in vain; "
                "massrl pretrain --resume RUN goes on from the last checkpoint, where there is one",
                failed[0].returncode,
            )
            os._exit(2)


@contextmanager
def _group(here: World, *, gpu: bool) -> Iterator[None]:
    """The connection of all processes; an error in it becomes one line."""
    threads = torch.get_num_threads()
    if gpu:
        torch.cuda.set_device(here.local_rank)
    elif "OMP_NUM_THREADS" not in os.environ:
        # One for each core, over all processes of the machine.
        torch.set_num_threads(max(1, detect_hardware("cpu").cores // here.local_size))
    try:
        if here.size > 1:
            backend = "cpu:gloo,cuda:nccl" if gpu else "gloo"
            store, _, _ = next(rendezvous("env://", here.rank, here.size, timeout=_LONGEST_STEP))
            dist.init_process_group(
                backend,
                store=fresh_store(store, here),
                rank=here.rank,
                world_size=here.size,
                timeout=_LONGEST_STEP,
            )
        yield
    except RuntimeError as error:  # torch's errors of a connection are of this kind
        if here.size == 1 or not _is_lost(error):
            raise
        raise LostError(f"{_LOST} ({str(error).strip().splitlines()[0]})") from None
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
        torch.set_num_threads(threads)


def fresh_store(store: Store, here: World) -> Store:
    """A part of the store in which no earlier attempt of this run has left anything.

    torchrun keeps one store over its restarts, and the addresses of processes that are dead would be
    taken for those of the living. So each process asks with a token of its own, and only one that is alive
    can answer it.
    """
    if not here.is_main:
        token = uuid4().hex
        store.set(f"massrl/ask/{here.rank}", token)
        attempt = store.get(f"massrl/answer/{token}").decode()
        store.set(f"massrl/{attempt}/{here.rank}", "here")
        return PrefixStore(f"massrl/{attempt}", store)
    attempt, answered = uuid4().hex, set[str]()
    others = range(1, here.size)
    while not all(store.check([f"massrl/{attempt}/{rank}"]) for rank in others):
        for key in (f"massrl/ask/{rank}" for rank in others):
            token = store.get(key).decode() if store.check([key]) else ""
            if token and token not in answered:
                store.set(f"massrl/answer/{token}", attempt)
                answered.add(token)
        time.sleep(0.02)
    return PrefixStore(f"massrl/{attempt}", store)


def _is_lost(error: RuntimeError) -> bool:
    text = str(error).lower()
    words = ("connection", "gloo", "nccl", "tcpstore")
    return isinstance(error, dist.DistError) or any(word in text for word in words)
