"""What became of a worker, in one line."""

from __future__ import annotations

import errno
import signal

import pytest

from massrl.data.script_guard import UNGUARDED
from massrl.data.worker_failures import errno_of, error_of_exit, without_traceback
from massrl.errors import ConfigError, DataError, ImageError, TrainingError


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (-signal.SIGKILL, r"killed \(SIGKILL\).*memory.*--data\.workers"),
        (-signal.SIGBUS, r"\(SIGBUS\).*/dev/shm.*--shm-size.*--data\.workers 0"),
        (-signal.SIGSEGV, r"crashed \(SIGSEGV\).*decoder.*--data\.workers 0"),
        (-signal.SIGABRT, r"crashed \(SIGABRT\)"),
        (-signal.SIGILL, r"crashed \(SIGILL\)"),
        (-99, r"crashed \(signal 99\)"),
        (errno.ENOSPC, r"/dev/shm.*is full.*--shm-size"),
        (errno.EMFILE, r"ulimit -n"),
        (errno.EAGAIN, r"ulimit -u"),
        (3, r"exit code 3"),
    ],
)
def test_exit_code_is_explained_in_one_line(code: int, message: str) -> None:
    """Guards "unexpected RuntimeError: DataLoader worker (pid 7) exited unexpectedly"."""
    error = error_of_exit(code)
    assert isinstance(error, TrainingError)
    assert "\n" not in str(error)
    with pytest.raises(TrainingError, match=message):
        raise error


def test_worker_that_imports_a_script_without_guard_names_the_guard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guards the start methods of macOS, Windows and Python 3.14: and errors of the script itself."""
    for method, code in (("spawn", UNGUARDED), ("forkserver", UNGUARDED), ("spawn", 1)):
        monkeypatch.setattr("multiprocessing.get_start_method", lambda method=method: method)
        error = error_of_exit(code)
        assert isinstance(error, ConfigError)
        assert 'if __name__ == "__main__":' in str(error)
        assert f"start method {method}" in str(error)
        assert ("exit code 1" in str(error)) == (code == 1)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.EMFILE, "in any language"), errno.EMFILE),
        (MemoryError(), errno.ENOMEM),
        (RuntimeError("received 0 items of ancdata"), errno.EMFILE),
        (RuntimeError("Too many open files. Communication with the workers is …"), errno.EMFILE),
        (RuntimeError("can't start new thread"), errno.EAGAIN),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to …"),
            errno.ENOMEM,
        ),
        (
            RuntimeError("unable to allocate shared memory(shm) … No space left on device (28)"),
            errno.ENOSPC,
        ),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), None),
        (ValueError("a fault of ours"), None),
    ],
)
def test_lack_of_resources_is_told_from_other_errors(error: Exception, code: int | None) -> None:
    """Guards advice: the texts are those of CPython, torch and Linux."""
    assert errno_of(error) == code


@pytest.mark.parametrize(
    ("kind", "last", "shown", "message"),
    [
        (
            DataError,
            "massrl.errors.DataError: the set: it is gone",
            DataError,
            "the set: it is gone",
        ),
        (TypeError, "TypeError: 'int' object", TypeError, "'int' object"),
        (RuntimeError, "package.OwnError: a: b", RuntimeError, "package.OwnError: a: b"),
        (
            ImageError,
            "massrl.errors.ImageError: a.png: empty",
            RuntimeError,
            "massrl.errors.ImageError: ",
        ),
    ],
)
def test_error_raised_in_a_worker_has_its_own_message(
    kind: type[Exception], last: str, shown: type[Exception], message: str
) -> None:
    """Guards against torch's form, a traceback of a thousand characters in one line."""
    text = f"Caught {kind.__name__} in DataLoader worker process 0.\nOriginal Traceback …\n  …\n{last}\n"
    error = kind(text) if kind is not ImageError else RuntimeError(text)
    found = without_traceback(error)
    assert type(found) is shown
    assert str(found).startswith(message)


def test_error_of_one_line_stays_as_it_is() -> None:
    """Guards the type and the arguments of errors that torch has not changed."""
    error = ImageError("a.png", "empty")
    assert without_traceback(error) is error
