"""What a run says: to the terminal and to the run folder's ``log.txt`` alike."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

logger = logging.getLogger("massrl")


class _ConsoleHandler(logging.Handler):
    """Prints through rich, so that a line goes above a live progress line and not through it."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else None
        self._console.print(
            self.format(record), style=style, markup=False, highlight=False, soft_wrap=True
        )


class _LogFile(logging.FileHandler):
    """A log that a full disk silences: the error that says so must not drown in tracebacks."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's own name)
        """Let the line go."""


@contextmanager
def logging_to(path: Path, console: Console) -> Iterator[None]:
    """Send what is said to the terminal and, with the time, to a file, for as long as this lasts."""
    file = _LogFile(path, encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    handlers = (file, _ConsoleHandler(console))
    logger.setLevel(logging.INFO)
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
        with suppress(OSError):  # a full disk: the error that says so is under way
            file.close()


def duration(seconds: float) -> str:
    """Seconds as a person reads them.

    Example:
        >>> duration(42), duration(125), duration(7300)
        ('42 s', '2 min 05 s', '2 h 01 min')
    """
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class TaskProgress:
    """Shows how far an evaluation is: a live line on a terminal, nothing elsewhere."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> TaskProgress:
        self._progress.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._progress.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """``done`` of ``total`` are done."""
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total)
        self._progress.update(self._tasks[what], completed=done)
