"""Worker processes of a loader: started so that they cannot block this process, watched, and ended.

Whatever ends a worker (no shared memory, no memory, a crash in a decoder, a script without its guard)
ends the loader with one line that says what happened and what to do, and all workers with it.
"""

from __future__ import annotations

import copy
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from multiprocessing.util import Finalize
from queue import Empty
from threading import Thread, current_thread, main_thread
from typing import Any, TypeVar

import cv2
import torch
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from massrl.data.script_guard import (
    GUARD,
    STARTING,
    check_main_module,
    refuse_during_import,
    start_method,
)
from massrl.data.worker_failures import ADVICE, errno_of, error_of_exit, without_traceback
from massrl.errors import ConfigError, MassrlError, TrainingError

Batch = TypeVar("Batch")

_CHECK_EVERY = 1.0  # seconds
_PATIENCE = 5.0  # seconds for workers to end by themselves
_KILLED_WITHIN = 5.0  # seconds
_STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1")


class Loader(DataLoader[Batch]):
    """A ``DataLoader`` whose iterator is ``Batches`` if it has workers."""

    def __iter__(self) -> Any:
        """Start the workers, and return their batches."""
        return Batches(self._start) if self.num_workers else super().__iter__()

    def _start(self, context: BaseContext) -> Any:
        self.multiprocessing_context = context
        return super().__iter__()

    def _get_iterator(self) -> Any:
        return _Iterator(self) if self.num_workers else super()._get_iterator()


class _Iterator(_MultiProcessingDataLoaderIter):
    """torch's iterator, without what can block or fail after the end of a worker; ``Batches`` ends it."""

    def _try_get_data(self, timeout: float | None = None) -> tuple[bool, Any]:
        """Wait a second for a batch.

        To find that a worker has ended, torch takes a lock that this worker may have held.
        """
        try:
            return True, self._data_queue.get(timeout=timeout or _CHECK_EVERY)
        except Empty:
            if not all(worker.is_alive() for worker in self._workers):
                raise RuntimeError("a worker process has ended") from None
            return False, None

    def __del__(self) -> None:
        """Do nothing: torch's fails where the workers could not be started."""


class Batches(Iterator[Batch]):
    """Batches of worker processes, which end with this object, and never outlive this process.

    Args:
        start: starts the workers through a context of ``multiprocessing``, and returns torch's iterator.

    Raises:
        MassrlError: if the workers cannot be started, or one of them has ended: in one line.
    """

    def __init__(self, start: Callable[[BaseContext], Any]) -> None:
        self._iterator: Any = None
        self._processes: list[BaseProcess] = []
        self._pid = os.getpid()
        refuse_during_import()
        check_main_module()
        # At exit this comes before the wait for child processes.
        Finalize(self, _kill, args=(self._processes,), exitpriority=10)
        try:
            with _starting(), _signals_blocked(), _child_handler_kept():
                self._iterator = start(_recording(self._processes))
        except Exception as error:
            problem = error if isinstance(error, MassrlError) else self._problem(error)
            _kill(self._processes)
            raise _caused(problem, error) from None

    def __next__(self) -> Batch:
        if self._iterator is None:
            raise StopIteration
        try:
            batch: Batch = next(self._iterator)
        except StopIteration:
            self.close()
            raise
        except Exception as error:
            problem = self._problem(error)
            _kill(self._processes)
            self.close()
            raise _caused(problem, error) from None
        return batch

    def close(self) -> None:
        """End the workers: within seconds, and by force where one does not end by itself."""
        iterator, self._iterator = self._iterator, None
        if iterator is not None:
            # A worker that was killed may hold a lock that its iterator waits for.
            ending = Thread(target=iterator._shutdown_workers, daemon=True)
            with suppress(RuntimeError):  # no thread can be started when Python exits
                ending.start()
                ending.join(_PATIENCE)
        _kill(self._processes)

    def __del__(self) -> None:
        if os.getpid() == self._pid and not sys.is_finalizing():  # not the copy in a forked process
            self.close()

    def _problem(self, error: Exception) -> Exception:
        """Return what is to be raised for an error of the iterator: one line."""
        text = str(error)
        started = [process for process in self._processes if process.pid is not None]
        if (
            started and "in DataLoader worker process" not in text
        ):  # not raised in a worker: has one ended?
            ending = wait([process.sentinel for process in started], timeout=1.0)
            for process in started:
                if process.sentinel in ending:
                    process.join(1.0)  # its files are closed before it has an exit code
                if process.exitcode:
                    return error_of_exit(process.exitcode)
        if isinstance(error, ConnectionError | EOFError) and start_method() == "forkserver":
            return ConfigError(GUARD.format(method=start_method()))
        code = errno_of(error)
        if code is not None:
            return TrainingError(f"worker processes: {ADVICE[code]}")
        return without_traceback(error)


def _caused(problem: Exception, error: Exception) -> Exception:
    """Return the problem, with the error as its cause unless it says all that there is to say."""
    if problem is not error and not isinstance(problem, MassrlError):
        problem.__cause__ = error
    return problem


def _recording(processes: list[BaseProcess]) -> BaseContext:
    """Return the current context of ``multiprocessing``, which adds every process made to a list.

    The processes end by ``_end_failed`` if their function fails.
    """
    context = copy.copy(multiprocessing.get_context())
    make = context.Process

    def record(*, target: Callable[..., object], args: tuple[Any, ...]) -> BaseProcess:
        processes.append(make(target=_run, args=(target, *args)))
        return processes[-1]

    vars(context)["Process"] = record
    return context


@contextmanager
def _starting() -> Iterator[None]:
    """Tell processes that are started meanwhile that they are massrl's."""
    os.environ[STARTING] = "1"
    try:
        yield
    finally:
        os.environ.pop(STARTING, None)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block the signals that stop a run: processes started meanwhile never receive them.

    This process receives them at the end. A fork server would pass the block on to processes of others.
    """
    if not hasattr(signal, "pthread_sigmask") or start_method() == "forkserver":
        yield
        return
    names = {getattr(signal, name) for name in _STOP_SIGNALS}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, names)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _child_handler_kept() -> Iterator[None]:
    """Keep torch from handling the end of a child process.

    Its handler raises wherever this process happens to be; ``Batches`` finds out when it waits for data.
    """
    number = getattr(signal, "SIGCHLD", None)
    before = None if number is None else signal.getsignal(number)
    try:
        yield
    finally:
        if before is not None and current_thread() is main_thread():  # only it can set handlers
            signal.signal(signal.SIGCHLD, before)


def _kill(processes: list[BaseProcess]) -> None:
    """End processes that are still running, and wait for their end."""
    started = [process for process in processes if process.pid is not None]
    for process in started:
        process.kill()
    for process in started:
        process.join(_KILLED_WITHIN)


def start_worker(_: int) -> None:
    """Prepare a worker process: one thread, no signals, no lines of its own, and an end with its parent.

    Ctrl-C, ``timeout`` and schedulers signal the whole process group, SLURM with ``SIGUSR1`` if it is
    configured so: the training process handles the signals that stop a run.
    """
    for name in _STOP_SIGNALS:
        if hasattr(signal, name):  # not all of them on every system
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    for name in ("SIGBUS", "SIGSEGV", "SIGFPE"):  # torch's handlers print; the parent reports
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    Queue._on_queue_feeder_error = staticmethod(_end_failed)  # type: ignore[attr-defined]
    Thread(target=_end_without_parent, daemon=True).start()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _run(function: Callable[..., object], *arguments: Any) -> None:
    """Call the function of a worker process."""
    try:
        function(*arguments)
    except Exception as error:
        _end_failed(error)


def _end_failed(error: Exception, _: object = None) -> None:
    """End this process with an exit code that tells its parent what it lacks.

    By default a batch that cannot be sent is dropped, and awaited for ever.
    """
    code = errno_of(error)
    if code is None:
        traceback.print_exception(error)
    os._exit(code or 1)


def _end_without_parent() -> None:
    """End this process once the one that started it is gone."""
    parent, pid = multiprocessing.parent_process(), os.getppid()
    assert parent is not None
    while not wait([parent.sentinel], timeout=1.0) and os.getppid() == pid:
        pass
    os._exit(1)
