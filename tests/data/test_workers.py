"""Worker processes: what ends one ends the loader in one line, and nothing is left of them."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.data.test_loader import MAKER, SOURCE, Broken, steps

from massrl.data.loader import build_loader
from massrl.data.source import Source
from massrl.data.workers import Batches
from massrl.errors import DataError, ImageError, TrainingError

pytestmark = [
    # Python from 3.12 on warns of every fork of a process that has threads, as torch's always has.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
]


@pytest.fixture(autouse=True)
def _asks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask for the workers' state every tenth of a second, not every second."""
    monkeypatch.setattr("massrl.data.workers._CHECK_EVERY", 0.1)


class Failing(Broken):
    """Images of which one does something else when a worker reads it."""

    def __init__(self, act: Callable[[], Any]) -> None:
        super().__init__()
        self.act = act

    def read(self, index: int) -> bytes | np.ndarray:
        """The fifth fails."""
        if index == 5:
            self.act()
        return super().read(index)


def raises(error: Exception) -> Callable[[], Any]:
    def act() -> None:
        raise error

    return act


def ends_by(number: int) -> Callable[[], Any]:
    return lambda: os.kill(os.getpid(), number)


def batches_of(source: Source, *, workers: int = 2, make_views: Any = MAKER) -> Batches[Any]:
    batches = steps(len(source), 2, total_steps=20)
    found = iter(build_loader(source, make_views, batches=batches, workers=workers))
    assert isinstance(found, Batches)
    return found


def error_of(act: Callable[[], Any]) -> Exception:
    """The error of a loader of which a worker fails; no process is left."""
    batches = batches_of(Failing(act))
    with pytest.raises(Exception) as caught:  # noqa: PT011 (returned)
        list(batches)
    assert all(process.exitcode is not None for process in batches._processes)
    assert len(batches._processes) == 2
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("act", "kind", "message"),
    [
        (ends_by(signal.SIGKILL), TrainingError, "SIGKILL"),
        (ends_by(signal.SIGSEGV), TrainingError, "SIGSEGV"),
        (ends_by(signal.SIGBUS), TrainingError, "--shm-size"),
        (lambda: os._exit(3), TrainingError, "exit code 3"),
        (raises(OSError(errno.EMFILE, "Too many open files")), TrainingError, "ulimit -n"),
        (raises(MemoryError()), TrainingError, "out of memory"),
        (raises(DataError("the set: it is gone")), DataError, "the set: it is gone"),
    ],
)
def test_worker_that_fails_ends_the_loader_in_one_line(
    act: Callable[[], Any], kind: type[Exception], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Guards every end of a worker: the OOM killer, a crash of a decoder, no shared memory, errors.

    The kind: signals, exit codes, and exceptions, which torch sends with a traceback in the message. None
    may hang, print from the worker beside the message, or leave a process.
    """
    error = error_of(act)
    assert type(error) is kind
    assert message in str(error)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("fault", [TypeError("an operation's fault"), KeyError("fault")])
def test_fault_of_an_operation_ends_the_loader_in_one_line(
    fault: Exception, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards ``--data.on_error skip``: a fault of a view is of no image, and would leave out all of them.

    The line of one's own code is known in the worker alone.
    """
    monkeypatch.setattr(type(MAKER), "write", lambda *_, **__: raises(fault)())
    batches = batches_of(SOURCE)
    line = raises(fault).__code__.co_firstlineno + 1
    message = rf"{Path(__file__).name}, line {line}, raised {type(fault).__name__}: .*fault"
    with pytest.raises(TrainingError, match=message) as caught:
        list(batches)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_fault_of_a_source_is_that_of_its_image() -> None:
    """Guards a run against the reader of one image: whatever it raises, the image is named and left out."""
    failures = [
        item for batch in batches_of(Failing(raises(KeyError("fault")))) for item in batch[2]
    ]
    own = [reason for _, reason in failures if "KeyError" in reason]
    assert own
    assert set(own) == {"cannot be read (KeyError: 'fault')"}


def test_image_that_the_machine_cannot_read_is_not_called_broken() -> None:
    """Guards ``--data.on_error skip``: without file descriptors every image would be skipped."""

    def act() -> None:
        try:
            raise OSError(errno.EMFILE, "Too many open files")
        except OSError as error:
            raise ImageError("a.png", str(error.strerror)) from None

    assert "ulimit -n" in str(error_of(act))


class Unsendable:
    """A batch's part that cannot be sent."""

    def __reduce__(self) -> Any:
        raise RuntimeError(
            "unable to open shared memory object </torch_1>: Too many open files (24)"
        )


def test_batch_that_cannot_be_sent_ends_the_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a batch that is awaited for ever: ``multiprocessing`` drops what it cannot pickle."""
    monkeypatch.setattr(type(MAKER), "batch", lambda self, pixels, notes: Unsendable())
    with pytest.raises(TrainingError, match="ulimit -n"):
        list(batches_of(SOURCE))


def test_worker_without_a_thread_to_send_its_batches_is_reported(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Guards limits on processes, which count threads: an error outside the reading of a batch."""

    def fail(self: Any) -> None:
        raise RuntimeError("can't start new thread")

    batches = steps(len(SOURCE), 2, total_steps=20)
    loader = build_loader(SOURCE, MAKER, batches=batches, workers=1)
    prepare = loader.worker_init_fn
    assert prepare is not None

    def without_threads(number: int) -> None:
        prepare(number)
        monkeypatch.setattr("multiprocessing.queues.Queue._start_thread", fail)

    loader.worker_init_fn = without_threads
    with pytest.raises(TrainingError, match="ulimit -u"):
        list(loader)
    assert capfd.readouterr().err == ""


def test_workers_that_cannot_be_started_are_reported() -> None:
    """Guards the start: no file descriptor is left for the workers' pipes."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)  # the lowest number that is free
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 2, before[1]))
    try:
        with pytest.raises(TrainingError, match="ulimit -n") as caught:
            batches_of(SOURCE, workers=4)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert "\n" not in str(caught.value)


def test_workers_end_with_their_batches() -> None:
    """Guards against processes that stay: at the end, when closed, and when nobody needs them."""
    done = batches_of(SOURCE)
    assert len(list(done)) == 20
    assert list(done) == []
    closed, dropped = batches_of(SOURCE), batches_of(SOURCE)
    next(closed)
    next(dropped)
    processes = [*done._processes, *closed._processes, *dropped._processes]
    assert len(processes) == 6
    closed.close()
    del dropped
    assert all(process.exitcode is not None for process in processes)


def test_worker_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the end of a run against a worker that hangs in a decoder or on a network drive."""
    monkeypatch.setattr("massrl.data.workers._PATIENCE", 0.2)
    batches = batches_of(Failing(lambda: time.sleep(1000)), workers=1)
    next(batches)
    batches.close()
    assert [process.exitcode for process in batches._processes] == [-signal.SIGKILL]


def test_lock_of_a_worker_that_was_killed_blocks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the end against torch's own locks, which workers take for every batch, and may die with."""
    monkeypatch.setattr("massrl.data.workers._PATIENCE", 0.2)
    batches = batches_of(SOURCE)
    next(batches)
    batches._iterator._workers_done_event._cond.acquire()  # for good, as a dead worker's
    process = batches._processes[0]
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with pytest.raises(TrainingError, match="SIGKILL"):
        list(batches)
    assert all(process.exitcode is not None for process in batches._processes)


def test_signals_of_the_group_do_not_reach_workers() -> None:
    """Guards a stop that is saved: Ctrl-C and schedulers signal every process of the group."""
    batches = batches_of(SOURCE)  # not yet at their first instruction
    for process in batches._processes:
        assert process.pid is not None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            os.kill(process.pid, number)
    assert len(list(batches)) == 20
    assert {process.exitcode for process in batches._processes} == {0}
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_end_of_a_worker_raises_nowhere_but_where_batches_are_awaited() -> None:
    """Guards checkpoints: torch's handler of SIGCHLD would raise in whatever is running."""
    batches = batches_of(SOURCE)
    next(batches)
    process = batches._processes[0]
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
    with pytest.raises(TrainingError, match="SIGKILL"):
        list(batches)


# ---------------------------------------------------------------- start methods


@pytest.fixture(params=["spawn", "forkserver"])
def method(request: pytest.FixtureRequest) -> Iterator[str]:
    """Start processes as macOS and Windows do, and Linux from Python 3.14 on."""
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method(request.param, force=True)
    yield request.param
    multiprocessing.set_start_method(before, force=True)


@pytest.mark.usefixtures("method")
def test_spawned_worker_gives_the_batches_of_this_process() -> None:
    """Guards the file in which the images are handed over."""
    batches = steps(len(SOURCE), 6, total_steps=3)
    alone = list(build_loader(SOURCE, MAKER, batches=batches, workers=0))
    loader = build_loader(SOURCE, MAKER, batches=batches, workers=1)
    for one, other in zip(alone, loader, strict=True):
        assert torch.equal(one.views, other.views)
    path = Path(loader.dataset._handover.path)  # type: ignore[attr-defined]
    assert path.exists()
    del loader
    assert not path.exists()


@pytest.mark.usefixtures("method")
def test_images_that_cannot_be_pickled_are_refused_when_workers_are_spawned() -> None:
    """Guards sources and operations of one's own that only forked workers take."""
    with pytest.raises(DataError, match=r"cannot be sent to worker processes .*--data\.workers 0"):
        batches_of(Failing(lambda: 0))


SCRIPT = """
import multiprocessing, sys
import massrl.data.shared_memory as shared_memory
from massrl.data.loader import StepBatchSampler, build_loader
from massrl.data.sources.shapes import ShapesSource
from massrl.views.view_maker import ViewMaker

def run(workers=1):
    batches = StepBatchSampler(20, 4, seed=0, total_steps=4)
    source = ShapesSource(20, 64, seed=0, objects=1, split="train")
    maker = ViewMaker("byol", size=SIZE, seed=3)
    return list(build_loader(source, maker, batches=batches, workers=workers))
"""


def script_of(calls: str, *, size: int = 16) -> str:
    return SCRIPT.replace("SIZE", str(size)) + calls


def outcome(folder: Path, text: str, *, before: tuple[str, ...] = ()) -> tuple[int, str]:
    """Run a script, and return its exit code and its errors; it may take a minute, and never hang."""
    path = folder / "script.py"
    path.write_text(text, encoding="utf-8")
    paths = os.pathsep.join(str(Path(item).resolve()) for item in sys.path if item)
    done = subprocess.run(
        [*before, sys.executable, str(path)],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("started", ["spawn", "forkserver"])
def test_script_without_guard_ends_in_one_line_that_names_it(started: str, tmp_path: Path) -> None:
    """Guards scripts under spawn (macOS, Windows) and forkserver (Linux from Python 3.14 on).

    The kind: whatever keeps a worker from its birth. Its parent used to write into a pipe that nobody
    reads, for ever.
    """
    calls = f"multiprocessing.set_start_method({started!r}, force=True)\nrun()\n"
    code, errors = outcome(tmp_path, script_of(calls))
    assert code == 1
    assert 'if __name__ == "__main__":' in errors.splitlines()[-1]
    assert errors.count("Traceback") == 1  # of this process; none of the worker


# ---------------------------------------------------------------- real machines


def gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_workers_do_not_outlive_a_process_that_is_killed(tmp_path: Path) -> None:
    """Guards machines against workers of a run that was killed, one of which is stuck."""
    calls = f"""
import os, time
from pathlib import Path
class Stuck(ShapesSource):
    def read(self, index):
        Path({str(tmp_path)!r}, f"pid-{{os.getpid()}}").touch()
        time.sleep(1000)
ShapesSource = Stuck
run(workers=2)
"""
    path = tmp_path / "script.py"
    path.write_text(script_of(calls), encoding="utf-8")
    paths = os.pathsep.join(str(Path(item).resolve()) for item in sys.path if item)
    process = subprocess.Popen([sys.executable, str(path)], env={**os.environ, "PYTHONPATH": paths})
    deadline = time.monotonic() + 60
    while len(found := list(tmp_path.glob("pid-*"))) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    while not gone([int(item.name.removeprefix("pid-")) for item in found]):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def can_mount() -> bool:
    """Whether this user may mount a small /dev/shm in a namespace of its own."""
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/dev/shm"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="mounting needs root")
def test_small_shared_memory_is_refused_before_and_reported_after(tmp_path: Path) -> None:
    """Guards containers: Docker gives 64 MB. What fills it up later kills a worker with SIGBUS.

    Also guards the end: no worker keeps the process from it.
    """
    inside = 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"'
    before = ("unshare", "-m", "bash", "-c", inside, "bash")
    calls = """
from massrl.errors import MassrlError
import massrl.data.loader as loader
try:
    run(workers=2)
except MassrlError as error:
    print("before:", error, file=sys.stderr)
loader.free_room = lambda processes: None
try:
    run(workers=2)
except MassrlError as error:
    print("after:", error, file=sys.stderr)
"""
    code, errors = outcome(tmp_path, script_of(calls, size=300), before=before)
    assert code == 0, errors
    lines = errors.splitlines()
    assert len(lines) == 2, errors
    assert lines[0].startswith("before: --data.workers is 2, each with a batch of 2.1 MiB")
    assert lines[1].startswith("after: ")
    assert "--shm-size" in lines[1]
