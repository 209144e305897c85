"""Launchers: ranks from their variables, restarts, SLURM's time limit."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from massrl.distributed import World
from massrl.errors import ConfigError
from massrl.train.launchers import (
    blocked_signals,
    ignore_time_limit_signal,
    is_restart,
    launch_variables,
    requeue,
    stop_signals,
    world_of,
)

TORCHRUN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "10.0.0.1",
    "MASTER_PORT": "29500",
}
SLURM = {
    "SLURM_PROCID": "5",
    "SLURM_NTASKS": "8",
    "SLURM_NTASKS_PER_NODE": "4",
    "SLURM_LOCALID": "1",
    "SLURM_NNODES": "2",
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_NAME": "massrl",
    "SLURM_NODELIST": "node[3-4]",
    "SLURM_NODEID": "1",
    "SLURM_STEP_ID": "0",
}
PLACE = World(rank=5, size=8, local_rank=1, local_size=4)


def test_process_of_no_launcher_has_no_variables() -> None:
    """Guards ordinary runs against a process group of one."""
    assert launch_variables({}) is None
    assert launch_variables({"RANK": "0", "HOME": "/root"}) is None


def test_ranks_are_those_of_torchrun() -> None:
    """Guards ranks over two machines."""
    variables = launch_variables({**TORCHRUN, "HOME": "/root"})
    assert variables == TORCHRUN
    assert world_of(variables) == PLACE


def test_launcher_without_a_local_size_is_taken_for_one_machine() -> None:
    """Guards launchers that set torchrun's variables only in part."""
    given = {name: value for name, value in TORCHRUN.items() if name != "LOCAL_WORLD_SIZE"}
    variables = launch_variables(given)
    assert variables is not None
    assert world_of(variables).local_size == 8


def test_ranks_are_those_of_slurm() -> None:
    """Guards ``srun`` over two machines, and shells on a node, which are no tasks."""
    variables = launch_variables(SLURM)
    assert variables is not None
    assert world_of(variables) == PLACE
    assert variables["MASTER_ADDR"] == "node3"
    assert variables["MASTER_PORT"] == str(15000 + 4711)
    assert launch_variables({**SLURM, "SLURM_JOB_NAME": "bash"}) is None
    elsewhere = launch_variables({**SLURM, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"})
    assert elsewhere == TORCHRUN


def test_step_of_a_part_of_the_job_has_its_own_nodes() -> None:
    """Guards ``srun --nodes 1`` within a job of more: its first node is not the job's."""
    step = {"SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_NODELIST": "node4", "SLURM_LOCALID": "5"}
    variables = launch_variables({**SLURM, **step})
    assert variables is not None
    assert (variables["MASTER_ADDR"], variables["LOCAL_WORLD_SIZE"]) == ("node4", "8")


OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "5",
    "OMPI_COMM_WORLD_SIZE": "8",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
}
MPICH = {"PMI_RANK": "5", "PMI_SIZE": "8", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "4"}


@pytest.mark.parametrize("ranks", [OPEN_MPI, MPICH, {**SLURM, "SLURM_PROCID": "0", **OPEN_MPI}])
def test_ranks_are_those_of_mpirun_and_the_address_is_given(ranks: dict[str, str]) -> None:
    """Guards Open MPI and MPICH, which do not say where rank 0 is; also within a SLURM job."""
    with pytest.raises(ConfigError, match="MASTER_ADDR and MASTER_PORT are not set.*mpirun -x"):
        launch_variables(ranks)
    address = {name: TORCHRUN[name] for name in ("MASTER_ADDR", "MASTER_PORT")}
    assert launch_variables({**ranks, **address}) == TORCHRUN


KUBEFLOW = {name: TORCHRUN[name] for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")}


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"WORLD_SIZE": "1"},
        {**KUBEFLOW, "RANK": "0", "WORLD_SIZE": "1"},  # PyTorchJob of one pod
        {"RANK": "0", "WORLD_SIZE": "1", "MASTER_PORT": "no number"},
        {"RANK": "", "WORLD_SIZE": " ", "MASTER_ADDR": ""},
        {"RANK": "gold", "LOCAL_RANK": "x"},  # of another program
        {"RANK": "0", "MASTER_ADDR": "localhost"},
        # A container within a SLURM step, which got some of its variables.
        {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_NNODES": "1"},
        {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"},  # sbatch without srun
        {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4"},  # salloc
        {"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"},
        {"PMI_SIZE": "1", "PMI_RANK": "0"},
        {"SM_HOSTS": '["algo-1"]', "SM_CURRENT_HOST": "algo-1", "SM_NUM_GPUS": "8"},  # SageMaker
        {"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_DYNAMO_BACKEND": "NO"},  # accelerate
    ],
)
def test_process_of_a_world_of_one_is_alone(variables: dict[str, str]) -> None:
    """Guards clouds that set variables for a single process too: the rest of them is not read.

    The kind: a variable that is missing, empty or no number, for every launcher.
    """
    assert launch_variables(variables) is None


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (KUBEFLOW, r"8 processes, but LOCAL_RANK is not set: .*Kubeflow.*LOCAL_RANK=0"),
        ({"WORLD_SIZE": "2"}, "RANK and LOCAL_RANK and MASTER_ADDR and MASTER_PORT are not set"),
        ({**TORCHRUN, "LOCAL_RANK": ""}, "LOCAL_RANK is not set"),
        ({**TORCHRUN, "WORLD_SIZE": ""}, "RANK is 5, but WORLD_SIZE is not set"),
        (
            {**TORCHRUN, "WORLD_SIZE": "eight"},
            "WORLD_SIZE is 'eight', but a whole number 1 or more",
        ),
        ({**TORCHRUN, "WORLD_SIZE": "0"}, "WORLD_SIZE is '0'"),
        ({**TORCHRUN, "RANK": "8"}, "RANK is '8', but a whole number from 0 to 7"),
        ({**TORCHRUN, "RANK": "-1"}, "RANK is '-1'"),
        ({**TORCHRUN, "RANK": "1.5"}, "RANK is '1.5'"),
        ({**TORCHRUN, "RANK": "²"}, "RANK is '²'"),
        ({**TORCHRUN, "LOCAL_RANK": "4"}, "LOCAL_RANK is '4', but a whole number from 0 to 3"),
        ({**TORCHRUN, "LOCAL_WORLD_SIZE": "9"}, "LOCAL_WORLD_SIZE is '9'.* from 1 to 8"),
        ({**TORCHRUN, "MASTER_PORT": "99999"}, "MASTER_PORT is '99999'.* from 1 to 65535"),
        ({**SLURM, "SLURM_LOCALID": ""}, "SLURM has started 8 processes, but SLURM_LOCALID is not"),
        ({**SLURM, "SLURM_STEP_ID": ""}, "srun did not start this process"),
        ({**SLURM, "SLURM_NTASKS": "x"}, "SLURM_NTASKS is 'x'"),
        ({**SLURM, "SLURM_PROCID": "8"}, "SLURM_PROCID is '8'.* from 0 to 7"),
        ({**SLURM, "SLURM_NNODES": "3"}, "8 tasks on 3 nodes.*--ntasks-per-node"),
        ({**SLURM, "SLURM_NNODES": "two"}, "SLURM_NNODES is 'two'"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "OMPI_COMM_WORLD_RANK and OMPI_COMM_WORLD_LOCAL_RANK and"),
    ],
)
def test_variable_of_several_processes_that_is_missing_or_no_rank_is_named(
    variables: dict[str, str], message: str
) -> None:
    """Guards against a KeyError, against a wait for processes that do not exist, and a wrong device."""
    with pytest.raises(ConfigError, match=message) as caught:
        launch_variables(variables)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, False),
        ({"TORCHELASTIC_RESTART_COUNT": "0"}, False),
        ({"TORCHELASTIC_RESTART_COUNT": "2"}, True),
        ({"SLURM_RESTART_COUNT": "1"}, True),
        ({"SLURM_RESTART_COUNT": ""}, False),
    ],
)
def test_restart_is_told_by_the_launchers_count(
    variables: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards a job's own folder: a restart resumes it, a first start must not."""
    for name in ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_restart() == expected


@pytest.fixture(autouse=True)
def _handler_restored() -> Iterator[None]:
    """Restore what a failing test leaves."""
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


def test_time_limit_signal_is_ignored_under_slurm_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards a job that writes its results when its time is nearly up: the signal would end it."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert signal.SIGUSR1 not in stop_signals()
    with ignore_time_limit_signal():
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    assert signal.SIGUSR1 in stop_signals()
    with ignore_time_limit_signal():
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN
        os.kill(os.getpid(), signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def test_signal_that_is_blocked_and_has_arrived_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guards the command line, which blocks it until a run trains: to ignore a signal discards it."""
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        # other threads, started before, do not block it
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        with ignore_time_limit_signal():
            assert signal.sigpending() == {signal.SIGUSR1}
        assert signal.sigwait([signal.SIGUSR1]) == signal.SIGUSR1
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_handler_of_another_program_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards submitit and the like, whose own handler requeues the job."""
    received: list[int] = []
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    signal.signal(signal.SIGUSR1, lambda number, frame: received.append(number))
    with ignore_time_limit_signal():
        os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGUSR1)
    assert received == [signal.SIGUSR1] * 2


@pytest.mark.parametrize("works", [True, False])
def test_job_is_requeued_by_its_number_or_a_warning_is_logged(
    works: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards the end of a job: a ``scontrol`` that fails must not undo what was saved."""
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f"#!/bin/sh\necho $@ >> {tmp_path}/calls\nexit {0 if works else 1}\n")
    scontrol.chmod(scontrol.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    requeue()
    assert (tmp_path / "calls").read_text() == "requeue 4711\n"
    assert ("SLURM did not requeue job 4711" in caplog.text) != works


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no masks on this system")
def test_started_processes_never_receive_what_stops_a_run() -> None:
    """Guards Ctrl-C in a terminal, which reaches workers before they can handle it; this process gets it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    show = "import signal; print(*sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))))"
    with blocked_signals():
        shown = subprocess.run(
            [sys.executable, "-c", show], capture_output=True, text=True, check=True
        )
    assert {signal.SIGINT, signal.SIGTERM} <= {int(word) for word in shown.stdout.split()}
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
