"""Log messages to the terminal and to a run's ``log.txt``, and show progress."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
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
    """Print through rich, so that messages appear above a live progress line."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else None
        self._console.print(
            self.format(record), style=style, markup=False, highlight=False, soft_wrap=True
        )


class _LogFile(logging.FileHandler):
    """A log file that is silent on a full disk, whose error is reported elsewhere, without a traceback."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's own name)
        """Drop the message."""


class _Held(logging.Handler):
    """Keep messages."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def held_messages() -> Iterator[list[logging.LogRecord]]:
    """Hold messages back that come before there is a log; an error lets warnings through.

    Yields:
        The messages, for ``logging_to``.
    """
    handler, level = _Held(), logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield handler.records
    except BaseException:
        for record in handler.records:
            if logging.lastResort and record.levelno >= logging.lastResort.level:
                logging.lastResort.handle(record)
        raise
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextmanager
def each_message_once() -> Iterator[None]:
    """Let a message pass only once within the context, as where images are opened several times."""
    seen: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        known = text in seen
        seen.add(text)
        return not known

    logger.addFilter(is_new)
    try:
        yield
    finally:
        logger.removeFilter(is_new)


@contextmanager
def logging_to(
    path: Path, console: Console, *, earlier: Sequence[logging.LogRecord] = ()
) -> Iterator[None]:
    """Send log messages to the terminal and, with the time, to a file, within the context.

    Args:
        path: the file.
        console: the terminal.
        earlier: messages of ``held_messages``, which come first.
    """
    file = _LogFile(path, encoding="utf-8", errors="backslashreplace")
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    handlers = (file, _ConsoleHandler(console))
    logger.setLevel(logging.INFO)
    for handler in handlers:
        logger.addHandler(handler)
        for record in earlier:
            handler.handle(record)
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
        with suppress(OSError):  # a full disk, whose error is being raised
            file.close()


def duration(seconds: float) -> str:
    """Format seconds for the user.

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
    """Progress bars of the parts of a task on a terminal; nothing elsewhere."""

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

    def __call__(self, name: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` items of the part called ``name`` are finished."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=done)
