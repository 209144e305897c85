"""Launchers: ranks from their variables, restarts, SLURM's time limit."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from massrl.distributed import World
from massrl.errors import ConfigError
from massrl.train.launchers import (
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


def test_ranks_are_those_of_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards ``srun`` over two machines, and shells on a node, which are no tasks."""
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    variables = launch_variables()
    assert variables is not None
    assert world_of(variables) == PLACE
    assert variables["MASTER_ADDR"] == "node3"
    assert int(variables["MASTER_PORT"]) > 1024
    monkeypatch.setenv("PATH", "")  # Lightning warns where there is an unused srun
    monkeypatch.setenv("SLURM_JOB_NAME", "bash")
    assert launch_variables() is None


def test_tasks_of_an_sbatch_that_srun_did_not_start_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guards Lightning's error about ``--ntasks`` as one line."""
    for name, value in {**SLURM, "SLURM_NTASKS_PER_NODE": ""}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    with pytest.raises(ConfigError, match="ntasks-per-node") as caught:
        launch_variables()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, False),
        ({"TORCHELASTIC_RESTART_COUNT": "0"}, False),
        ({"TORCHELASTIC_RESTART_COUNT": "2"}, True),
        ({"SLURM_RESTART_COUNT": "1"}, True),
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
