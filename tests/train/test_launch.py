"""Several processes of one run: started by massrl, by torchrun and by SLURM; lost, stopped and resumed."""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
import torch.distributed as dist
from tests.conftest import Plugin, photos
from tests.train.conftest import (
    EVERY_THIRD,
    assert_identical,
    column,
    copy_at,
    quiet,
    run,
    signal_at,
    tiny,
    weights,
)

from massrl.commands.pretrain import pretrain, resume
from massrl.config.files import load_config, read_layers
from massrl.config.layers import plain
from massrl.config.parser import make_config
from massrl.config.pretrain import TrainConfig
from massrl.distributed import World
from massrl.errors import ConfigError, TrainingError
from massrl.runs.metrics import read_metrics
from massrl.train.launch import _cause, end_with, end_without, process_group
from massrl.train.session import SessionResult
from massrl.train.step import TrainingStep

MASSRL = [sys.executable, "-m", "massrl"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
GENTLE: dict[str, dict[str, Any]] = {
    "optim": {"name": "sgd", "lr": 0.1},  # rounding hardly grows from step to step
    "data": {"batch_size": 16},
    "train": {"max_steps": 6, "probe_every": 1, "checkpoint_every": 2},
}
TWO = {**GENTLE, "train": {**GENTLE["train"], "devices": 2}}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run of one process, and its copy from within step 4: not to be changed."""
    folder = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as patch:
        copy_at(patch, 4, 0, folder=folder / "run", to=folder / "crashed")
        run(folder / "run", **GENTLE)
    return folder / "run", folder / "crashed"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run with two processes: not to be changed."""
    return run(tmp_path_factory.mktemp("two") / "run", **TWO).folder


# ---------------------------------------------------------------- the same run


def assert_same_run(folder: Path, other: Path) -> None:
    """Equal at first up to rounding, which steps in 32 bits amplify."""
    assert column(folder, "loss")[0] == pytest.approx(column(other, "loss")[0], rel=1e-5)
    assert column(folder, "loss") == pytest.approx(column(other, "loss"), rel=0.05)
    rows = [read_metrics(path / "metrics.csv") for path in (folder, other)]
    for row, expected in zip(*rows, strict=True):
        assert (row["lr"], row["tau"]) == (expected["lr"], expected["tau"])
        assert (row["knn"] == "") == (expected["knn"] == "")


def test_two_processes_are_one_with_the_whole_batch(one: tuple[Path, Path], two: Path) -> None:
    """Guards the run around the gradients: shares of the batch, schedules, probes, log."""
    assert_same_run(two, one[0])
    log = (two / "log.txt").read_text(encoding="utf-8")
    assert "2 devices" in log
    assert "batch norm synchronised over 2 processes" in log


def test_two_processes_share_cached_files_workers_and_accumulated_batches(tmp_path: Path) -> None:
    """Guards the same for SimCLR's negatives, streamed views, files in memory and loader processes."""
    folder = photos(tmp_path / "photos", "a", "b", count=8)
    sections: dict[str, dict[str, Any]] = {
        **GENTLE,
        "data": {"train": str(folder), "batch_size": 16, "cache": "memory", "workers": 1},
        "method": {"name": "simclr"},
    }
    train = {"max_steps": 3, "memory": "streamed", "accumulate": 2}
    single = run(tmp_path / "one", **{**sections, "train": train}).folder
    double = run(tmp_path / "two", **{**sections, "train": {**train, "devices": 2}}).folder
    assert_same_run(double, single)


def test_run_is_resumed_with_another_number_of_devices(
    one: tuple[Path, Path], tmp_path: Path
) -> None:
    """Guards devices as what may change: the batch is global, and so are the gradients."""
    whole, crashed = one
    folder = Path(shutil.copytree(crashed, tmp_path / "run"))
    before = load_config(folder / "config.yaml").to_dict()
    after = make_config({**before, "train": {**before["train"], "devices": 2}})
    resume(folder, after, console=quiet())
    assert load_config(folder / "config.yaml").train.devices == 2
    assert column(folder, "loss") == pytest.approx(column(whole, "loss"), rel=0.02)


def test_time_budget_is_estimated_by_the_main_process_alone(tmp_path: Path) -> None:
    """Guards the estimate, in which a collective operation would wait for the others for ever."""
    train = {"time_budget": 1.0, "max_steps": None, "devices": 2}
    folder = run(tmp_path / "run", method={"name": "simclr"}, train=train).folder
    assert load_config(folder / "config.yaml").train.max_steps == len(column(folder, "loss"))


# ---------------------------------------------------------------- stopped and lost


@dataclass
class Interrupted:
    """What became of a run that was stopped by a signal, then lost a process, then was completed."""

    folder: Path
    stopped: SessionResult
    lost: str
    completed: SessionResult


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    """Three sessions of two processes."""
    folder = tmp_path_factory.mktemp("interrupted") / "run"
    with pytest.MonkeyPatch.context() as patch:
        signal_at(patch, 1)  # to the main process alone
        stopped = run(folder, **TWO).session
    workers: list[subprocess.Popen[bytes]] = []
    start, step = subprocess.Popen, TrainingStep.__call__

    def recorded(*arguments: Any, **settings: Any) -> Any:
        workers.append(start(*arguments, **settings))
        return workers[-1]

    def killing(self: TrainingStep, *arguments: Any) -> None:
        step(self, *arguments)
        if self.step == 5:
            workers[0].kill()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("massrl.train.launch.subprocess.Popen", recorded)
        patch.setattr(TrainingStep, "__call__", killing)
        with pytest.raises(TrainingError) as lost:
            resume(folder, console=quiet())
    completed = resume(folder, console=quiet()).session
    return Interrupted(folder, stopped, str(lost.value), completed)


def test_signal_to_the_main_process_stops_all_after_a_common_step(interrupted: Interrupted) -> None:
    """Guards a stop over processes, of which one alone receives the signal."""
    assert interrupted.stopped.stopped_by == "SIGTERM"
    assert 1 < interrupted.stopped.step < 4


def test_process_that_dies_ends_the_run_in_one_line(interrupted: Interrupted) -> None:
    """Guards against hanging: the connection of the others is lost."""
    assert interrupted.lost.startswith("another process of the run has ended")
    assert "\n" not in interrupted.lost


def test_interrupted_run_of_two_processes_ends_with_the_bits_of_one_session(
    interrupted: Interrupted, two: Path
) -> None:
    """Guards the checkpoints of several processes: of a stop, and before a loss."""
    assert interrupted.completed.step == 6
    assert_identical(weights(two), weights(interrupted.folder))


def test_error_of_another_process_alone_is_reported_with_its_rank(tmp_path: Path) -> None:
    """Guards the cause: an image that only one process has read, outside the step."""
    photos(tmp_path / "photos", "a", "b", count=8)
    val = photos(tmp_path / "val", "a", "b", count=2)
    (val / "a" / "1.png").write_bytes(b"no picture")  # the second image is the second process's
    data = {"train": str(tmp_path / "photos"), "val": str(val), "batch_size": 8}
    begin = time.monotonic()
    with pytest.raises(TrainingError, match=r"process 1: .*a/1\.png: .*--data\.on_error skip"):
        run(tmp_path / "run", data=data, train={"max_steps": 4, "probe_every": 1, "devices": 2})
    assert time.monotonic() - begin < 120  # not the timeout of a collective operation
    assert "no checkpoint was saved yet" in (tmp_path / "run" / "log.txt").read_text()


def test_cause_is_the_last_line_of_the_first_process_with_an_error_of_its_own() -> None:
    """Guards the message: a lost connection is a consequence, and a killed process writes nothing."""
    texts = (
        "",
        "massrl: another process of the run has ended, or cannot be reached (x)\n",
        "warning\nmassrl: a.png: empty\n",
        "massrl: b.png: empty\n",
    )
    outputs = [io.BytesIO(text.encode()) for text in texts]
    assert _cause(outputs) == "process 3: a.png: empty"
    assert _cause(outputs[:2]) is None


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    """Guards against orphans: the main process is killed before the workers have connected."""
    flags = arguments(tmp_path / "run", train={"max_steps": 400, "devices": 2})
    process = subprocess.Popen([*MASSRL, *flags], stderr=subprocess.DEVNULL)

    def workers() -> list[str]:
        """Those of ``started``, or any that the main process has by now."""
        listed = subprocess.run(
            ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False
        )
        return [pid for pid in started or listed.stdout.split() if "join" in command_of(pid)]

    started: list[str] = []
    started = eventually(workers, process)
    process.kill()
    process.wait()
    eventually(lambda: not workers())


def command_of(pid: str) -> str:
    """The command line of a process, empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def eventually(
    condition: Callable[[], Any],
    process: subprocess.Popen[Any] | None = None,
    *,
    within: float = 120,
) -> Any:
    """Wait until a condition holds, as long as the process runs, and return it."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None, "the process has ended"
        time.sleep(0.02)
    return value


def test_worker_exits_when_its_parent_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the watch over the parent: it must not end the worker of a living one."""
    parents, exits = iter([17, 17, 1]), []
    monkeypatch.setattr("massrl.train.launch.os.getppid", lambda: next(parents))
    monkeypatch.setattr("massrl.train.launch.time.sleep", lambda seconds: None)
    monkeypatch.setattr("massrl.train.launch.os._exit", exits.append)
    end_without(17)
    assert exits == [1]
    assert list(parents) == []


@pytest.mark.parametrize(("code", "exits"), [(1, True), (-9, True), (0, False), (None, False)])
def test_main_process_exits_when_a_worker_has_failed_unnoticed(
    monkeypatch: pytest.MonkeyPatch, code: int | None, exits: bool
) -> None:
    """Guards GPUs, which wait for a dead process where no error arrives; and runs that end well."""
    codes: list[int] = []
    ended = Event()
    num_waits = 0

    class Worker:
        returncode = code

        def poll(self) -> int | None:
            if code in (0, None) and num_waits > 3:
                ended.set()
            return code

    def wait(seconds: float) -> bool:
        nonlocal num_waits
        num_waits += 1
        return bool(codes) or ended.is_set()

    monkeypatch.setattr(ended, "wait", wait)
    monkeypatch.setattr("massrl.train.launch.os._exit", codes.append)
    end_with([Worker()], ended)  # type: ignore[list-item]
    assert codes == ([2] if exits else [])


# ---------------------------------------------------------------- launchers


def test_single_process_needs_no_group() -> None:
    """Guards ordinary runs against ports and connections."""
    with process_group(TrainConfig(), gpu=False) as world:
        assert world == World()
        assert not dist.is_initialized()


def test_numbers_that_do_not_fit_the_launcher_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a run on other devices than its owner believes."""
    with (
        pytest.raises(ConfigError, match="--train.nodes is 2, but no launcher started this"),
        process_group(TrainConfig(nodes=2), gpu=False),
    ):
        pass
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with (
        pytest.raises(ConfigError, match="--train.devices is 8, but this machine has 1 GPU$"),
        process_group(TrainConfig(devices=8), gpu=True),
    ):
        pass
    for name, value in {
        "RANK": "0",
        "WORLD_SIZE": "2",
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(ConfigError, match="--train.devices is 4, but the launcher has started .* 2"),
        process_group(TrainConfig(devices=4), gpu=False),
    ):
        pass


def arguments(out: Path, **sections: dict[str, Any]) -> list[str]:
    """Return the command line of a tiny run."""
    content = plain(tiny(out, **sections))
    words = ["pretrain", "--out", str(out)]
    for section, fields in content.items():
        if section == "out":
            continue
        for name, value in fields.items():
            inner = value.items() if isinstance(value, dict) else [(None, value)]
            for key, item in inner:
                flag = ".".join(filter(None, (section, name, key)))
                words += [f"--{flag}", str(item)]
    return words


HELD = """
import time
from pathlib import Path
from massrl.methods.byol import BYOL

class Held(BYOL):
    batches = 0

    def forward_backward(self, views, backward):
        Held.batches += 1
        if Held.batches == {batch}:
            Path({reached!r}).touch()
            while not Path({released!r}).exists():
                time.sleep(0.01)
        return super().forward_backward(views, backward)
"""


@dataclass
class Held:
    """Files of an objective that is BYOL, and waits in one batch of a process until it is released."""

    reached: Path
    released: Path


@pytest.fixture
def held(plugin: Plugin, tmp_path: Path) -> Callable[[int], Held]:
    """Install the objective ``held``, which waits in its n-th batch."""

    def install(batch: int) -> Held:
        files = Held(tmp_path / "reached", tmp_path / "released")
        source = HELD.format(batch=batch, reached=str(files.reached), released=str(files.released))
        plugin(source, {"massrl.objectives": {"held": "my_plugin:Held"}})
        return files

    return install


def test_torchrun_restarts_what_was_killed_and_the_run_is_resumed(
    held: Callable[[int], Held], two: Path, tmp_path: Path
) -> None:
    """Guards long jobs: a killed process, a restart of all, and the weights of an undisturbed run."""
    files, out = held(5), tmp_path / "run"
    train = {**GENTLE["train"], "checkpoint_every": 4}
    flags = arguments(out, **{**GENTLE, "train": train, "method": {"name": "held"}})
    command = [
        *TORCHRUN,
        *("--max-restarts", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"),
        *("-m", "massrl", *flags),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    eventually(files.reached.exists, process)
    eventually((out / "checkpoints" / "last.ckpt").is_file, process)
    children = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
    )
    os.kill(int(children.stdout.split()[-1]), signal.SIGKILL)
    files.released.touch()
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert "resuming from step 4" in (out / "log.txt").read_text(encoding="utf-8")
    assert_identical(weights(two), weights(out))


def listening(pid: int) -> set[str]:
    """Return the addresses at which a process listens, from the kernel's own tables."""
    own = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            own.add(str(file.readlink()))
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        path = Path(f"/proc/{pid}/net/{table}")
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            fields = line.split()
            address, state, inode = fields[1].partition(":")[0], fields[3], fields[9]
            if state == "0A" and f"socket:[{inode}]" in own:
                words = [int(address[at : at + 8], 16) for at in range(0, len(address), 8)]
                packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
                found.add(socket.inet_ntop(family, packed))
    return found


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's tables of sockets")
@pytest.mark.parametrize("launcher", [False, True], ids=["massrl", "launcher"])
def test_processes_of_one_machine_listen_on_loopback_alone(
    launcher: bool, held: Callable[[int], Held], tmp_path: Path
) -> None:
    """Guards a machine in a network: torch's store, and Gloo on a host's own name, listen to all of it.

    The same kind: processes that a launcher has started on one machine, with its address in the network.
    """
    files = held(2)
    data = {**GENTLE["data"], "batch_size": 16, "workers": 0}
    sections = {**GENTLE, "data": data, "method": {"name": "held"}}
    train = {**GENTLE["train"], "max_steps": 2, "probe_every": 0}
    flags = arguments(tmp_path / "run", **{**sections, "train": {**train, "devices": 2}})
    environments: list[dict[str, str]] = [{}]
    if launcher:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_PORT": port}
        shared["MASTER_ADDR"] = socket.gethostname()
        environments = [{**shared, "RANK": rank, "LOCAL_RANK": rank} for rank in "01"]
    started = [
        subprocess.Popen(
            [*MASSRL, *flags],
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stderr=subprocess.DEVNULL,
        )
        for environment in environments
    ]
    eventually(files.reached.exists, started[0])
    children = subprocess.run(
        ["pgrep", "-P", str(started[0].pid)], capture_output=True, text=True, check=False
    )
    processes = [item.pid for item in started] + [int(pid) for pid in children.stdout.split()]
    addresses = [listening(pid) for pid in processes]
    files.released.touch()
    assert [item.wait(120) for item in started] == [0] * len(started)
    assert len(addresses) == 2
    assert set().union(*addresses) <= {"127.0.0.1", "::1"}
    assert addresses[0]  # the store's, at least: else nothing was read


def test_two_hosts_are_one_run_by_the_script_for_them(tmp_path: Path) -> None:
    """Guards ``scripts/two_hosts.sh``: two launchers, each with one process, over the network."""
    script = Path(__file__).parents[2] / "scripts" / "two_hosts.sh"
    out = tmp_path / "run"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = arguments(out, train={"max_steps": 2})[3:]
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "DATA": "shapes(count=40,size=16)",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "OUT": str(out),
        "DEVICES": "1",
        "RECIPE": "shapes-byol",
    }
    hosts = [
        subprocess.Popen(
            ["bash", str(script), *flags],
            env={**environment, "NODE": str(node)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for node in (0, 1)
    ]
    errors = [host.communicate(timeout=240)[1] for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0], errors
    saved = load_config(out / "config.yaml").train
    assert (saved.devices, saved.nodes) == (1, 2)
    sections = tiny(tmp_path / "one", train={"max_steps": 2})
    single = pretrain(make_config(read_layers("shapes-byol"), sections), console=quiet()).folder
    assert column(out, "loss")[0] == pytest.approx(column(single, "loss")[0], rel=1e-4)


def test_job_whose_time_is_up_is_requeued_and_resumed(
    held: Callable[[int], Held], one: tuple[Path, Path], tmp_path: Path
) -> None:
    """Guards SLURM's signal: saved, exit 0, one ``scontrol requeue``, and the weights of one session."""
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f"#!/bin/sh\necho $@ >> {tmp_path}/calls\n")
    scontrol.chmod(0o755)
    files, out = held(3), tmp_path / "run"
    data = {**GENTLE["data"], "workers": 1}  # its process receives the signal, too
    train = {**GENTLE["train"], **EVERY_THIRD}
    sections = {**GENTLE, "data": data, "train": train, "method": {"name": "held"}}
    command = [*MASSRL, *arguments(out, **sections)]
    environment = {
        **os.environ,
        "PATH": f"{scontrol.parent}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "4711",
        "OMP_NUM_THREADS": "1",
    }
    first = subprocess.Popen(command, env=environment, start_new_session=True)
    eventually(files.reached.exists, first)
    os.killpg(first.pid, signal.SIGUSR1)
    files.released.touch()
    assert first.wait(120) == 0
    assert (tmp_path / "calls").read_text() == "requeue 4711\n"
    restarted = {**environment, "SLURM_RESTART_COUNT": "1"}
    assert subprocess.run(command, env=restarted, check=False).returncode == 0
    assert "resuming from step 3 of 6" in (out / "log.txt").read_text(encoding="utf-8")
    assert (tmp_path / "calls").read_text() == "requeue 4711\n"
    assert_identical(weights(one[0]), weights(out))
