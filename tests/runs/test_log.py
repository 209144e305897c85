"""Log messages and progress: on the terminal and in the run's file."""

from __future__ import annotations

import io
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from massrl.runs import log
from massrl.runs.log import TaskProgress, duration, each_message_once, held_messages, logging_to

LOGGER = logging.getLogger("massrl")


def terminal() -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=40, force_terminal=False), text


def test_messages_go_to_the_terminal_and_with_the_time_to_the_file(tmp_path: Path) -> None:
    """Guards ``log.txt``; long lines are not wrapped, and brackets are no markup."""
    console, text = terminal()
    message = "images of [bold]shapes[/bold] " + "x" * 60
    with logging_to(tmp_path / "log.txt", console):
        LOGGER.info(message)
    assert text.getvalue() == f"{message}\n"
    line = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d " + re.escape(message) + "\n", line)


def test_messages_outside_of_the_context_are_not_logged(tmp_path: Path) -> None:
    """Guards a second run in one process against writing into the first one's log."""
    console, text = terminal()
    with pytest.raises(RuntimeError), logging_to(tmp_path / "log.txt", console):
        raise RuntimeError
    LOGGER.warning("later")
    assert text.getvalue() == ""
    assert (tmp_path / "log.txt").read_text() == ""


def test_later_context_appends_to_the_file(tmp_path: Path) -> None:
    """Guards the log of a run that is resumed."""
    for message in ("first", "second"):
        with logging_to(tmp_path / "log.txt", terminal()[0]):
            LOGGER.info(message)
    words = (tmp_path / "log.txt").read_text().split()
    assert [words[2], words[5]] == ["first", "second"]


def test_full_disk_does_not_print_a_traceback_for_each_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards the one line that reports a full disk."""

    def full(*_: Any) -> None:
        raise OSError("No space left on device")

    console, text = terminal()
    with logging_to(tmp_path / "log.txt", console):
        handler = next(item for item in LOGGER.handlers if isinstance(item, log._LogFile))
        monkeypatch.setattr(handler, "format", full)
        LOGGER.info("still shown")
    assert text.getvalue() == "still shown\n"
    assert "Traceback" not in capsys.readouterr().err


def test_durations_are_rounded_to_whole_units() -> None:
    """Guards units and rounding."""
    assert [duration(value) for value in (-3, 0.4, 59.4, 59.6, 60, 3599, 3600, 90061)] == [
        "0 s",
        "0 s",
        "59 s",
        "1 min 00 s",
        "1 min 00 s",
        "59 min 59 s",
        "1 h 00 min",
        "25 h 01 min",
    ]


def test_progress_is_shown_on_a_terminal_only() -> None:
    """Guards logs of jobs against thousands of progress lines."""
    for is_terminal in (True, False):
        text = io.StringIO()
        console = Console(file=text, width=80, force_terminal=is_terminal)
        with TaskProgress(console) as progress:
            progress("features of a", 1, 4)
            progress("features of b", 2, 2)
            progress("features of a", 3, 4)
            tasks = {task.description: task.completed for task in progress._progress.tasks}
        assert tasks == {"features of a": 3, "features of b": 2}
        assert bool(text.getvalue().strip()) == is_terminal


def test_messages_before_the_log_come_first_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards what is said of the images, which are opened before there is a run folder."""
    console, text = terminal()
    with held_messages() as earlier:
        LOGGER.info("only train/ is opened")
        LOGGER.warning("images left out: 2")
    with logging_to(tmp_path / "log.txt", console, earlier=earlier):
        LOGGER.info("begun")
    wanted = ["only train/ is opened", "images left out: 2", "begun"]
    assert text.getvalue().splitlines() == wanted
    assert [line[20:] for line in (tmp_path / "log.txt").read_text().splitlines()] == wanted
    assert capsys.readouterr().err == ""


def test_warnings_before_an_error_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Guards the reason of an error that was warned of, which else would be lost with the log."""

    def fail() -> None:
        with held_messages():
            LOGGER.info("only train/ is opened")
            LOGGER.warning("images left out: 2")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert capsys.readouterr().err == "images left out: 2\n"


def test_message_passes_once_within_the_context(caplog: pytest.LogCaptureFixture) -> None:
    """Guards a check that opens images as a whole and in parts, and says four times what it left out."""
    with each_message_once():
        for name in ("a", "b", "a"):
            LOGGER.warning("%s: images left out: 2", name)
    LOGGER.warning("a: images left out: 2")
    assert [record.getMessage()[0] for record in caplog.records] == ["a", "b", "a"]
