"""The guard of a script: who needs it, and who is told; see ``test_workers`` for scripts that run."""

from __future__ import annotations

import multiprocessing
import os
import sys
import types

import pytest

import massrl
from massrl.data.script_guard import (
    STARTING,
    UNGUARDED,
    check_main_module,
    refuse_during_import,
)
from massrl.errors import ConfigError


def test_script_that_is_no_file_is_refused_and_a_session_without_script_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guards scripts from standard input, which workers cannot import; and notebooks, which have none."""
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    main.__file__ = "<stdin>"  # what Python sets
    check_main_module()  # a forked worker imports nothing
    monkeypatch.setattr("massrl.data.script_guard.start_method", lambda: "spawn")
    with pytest.raises(
        ConfigError, match=r"<stdin> \(start method spawn\): save the script as a file"
    ):
        check_main_module()
    del main.__file__
    check_main_module()


def test_process_of_another_program_that_imports_a_script_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guards scripts that start processes of their own: those must not end without a word."""
    refuse_during_import()
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(ConfigError, match=r'if __name__ == "__main__":'):
        refuse_during_import()
    with pytest.raises(ConfigError, match="start method"):
        massrl.pretrain({"data": {"train": "shapes"}})
    with pytest.raises(ConfigError, match="start method"):
        massrl.resume("no/such")


def test_worker_of_a_loader_ends_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the terminal against the tracebacks of all workers: their parent reports."""
    codes: list[int] = []
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    monkeypatch.setenv(STARTING, "1")
    monkeypatch.setattr(os, "_exit", codes.append)
    with pytest.raises(ConfigError):  # as ``_exit`` returns here
        refuse_during_import()
    assert codes == [UNGUARDED]
