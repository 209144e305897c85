"""Exit codes: the table, and what it says in the documentation."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from massrl.commands.exit_codes import EXIT_CODES, exit_code
from massrl.train.callbacks.signals import TIME_BUDGET
from massrl.train.launchers import TIME_LIMIT_SIGNAL, stop_signals


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_code_of_a_signal_is_that_of_a_shell(name: str) -> None:
    """Guards the numbers against a shell's own, of a command that the signal has ended."""
    command = ["sh", "-c", f"sh -c 'kill -s {name[3:]} $$'; echo $?"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # nohup ignores it
    )
    assert exit_code(name) == int(done.stdout)
    assert exit_code(name) in EXIT_CODES


def test_every_signal_that_stops_a_run_has_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards a job that SLURM queues again, which must not count as failed; a time budget, too."""
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    codes = {number: exit_code(number.name) for number in stop_signals()}
    assert exit_code(TIME_BUDGET) == 0
    assert codes.pop(signal.Signals[TIME_LIMIT_SIGNAL]) == 0
    assert set(codes.values()) == {130, 143}


def test_documentation_has_the_table() -> None:
    """Guards the page against a table of its own."""
    page = Path(__file__).parents[2] / "docs" / "exit-codes.md"
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert {int(code): meaning for code, meaning in rows} == EXIT_CODES
