"""What became of a loader's worker process, in one line: what has happened, and what to do."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

from massrl.data.script_guard import GUARD, UNGUARDED, start_method
from massrl.errors import ConfigError, MassrlError, TrainingError

SHARED_MEMORY = Path("/dev/shm")
"""Where finished batches wait for the training process, on Linux."""
_FULL = (
    f"{SHARED_MEMORY}, where batches wait, is full: give the container more (docker run --shm-size 2g), "
    f"or load in this process: --data.workers 0"
)
_OUT_OF_MEMORY = "lower --data.workers or --data.batch_size, or use --data.cache none"
ADVICE = {
    errno.ENOSPC: _FULL,
    errno.EMFILE: "too many open files: raise the limit (ulimit -n 65536), or lower --data.workers",
    errno.ENFILE: "too many open files on this machine: lower --data.workers",
    errno.ENOMEM: f"out of memory: {_OUT_OF_MEMORY}",
    errno.EAGAIN: "no further process or thread may be started: raise the limit (ulimit -u), or lower "
    "--data.workers",
}
_SIGNS = {
    "ancdata": errno.EMFILE,  # a file descriptor that did not fit
    "can't start new thread": errno.EAGAIN,
    "can't allocate memory": errno.ENOMEM,
    "MemoryError": errno.ENOMEM,
    **{os.strerror(code): code for code in ADVICE},
}


def error_of_exit(code: int) -> MassrlError:
    """Return the error for a worker with this exit code."""
    if code > 0 and (code == UNGUARDED or start_method() != "fork") and code not in ADVICE:
        return ConfigError(
            GUARD.format(method=start_method())
            + ("" if code == UNGUARDED else f" (a worker has ended with exit code {code})")
        )
    if code > 0:
        return TrainingError(f"a worker process has ended: {ADVICE.get(code, f'exit code {code}')}")
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if name == "SIGBUS":
        return TrainingError(
            f"a worker process has ended (SIGBUS), as happens when a file in use is cut off, or when {_FULL}"
        )
    if name == "SIGKILL":
        return TrainingError(
            f"a worker process was killed (SIGKILL), as happens when memory is used up: {_OUT_OF_MEMORY}"
        )
    return TrainingError(
        f"a worker process has crashed ({name}), as happens when a decoder or an operation of one's own "
        f"fails: python -X faulthandler -m massrl … --data.workers 0 shows where"
    )


def errno_of(error: BaseException) -> int | None:
    """Return the number of the system's error for a lack of resources, ``None`` for another error."""
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    text = str(error)
    code = error.errno if isinstance(error, OSError) else None
    if code not in ADVICE:
        code = next((code for sign, code in _SIGNS.items() if sign in text), None)
    return code


def without_traceback(error: Exception) -> Exception:
    """Return a worker's error with its own message in place of the traceback that torch writes into it."""
    lines = str(error.args[0] if error.args else "").strip().splitlines()
    if len(lines) < 2:
        return error
    name, _, message = lines[-1].partition(": ")
    if not name.endswith(type(error).__name__):
        return RuntimeError(lines[-1])
    try:
        return type(error)(message)
    except TypeError:
        return RuntimeError(lines[-1])
