"""The command line: dispatch, help, errors in one line, exit codes.

Nothing heavy is imported until a command runs, so that ``massrl --help`` answers at once. ``EXIT_CODES`` says
what each exit code means.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

from massrl.commands import COMMANDS, Command
from massrl.commands.arguments import refuse
from massrl.commands.exit_codes import EXIT_CODES, exit_code
from massrl.errors import (
    ConfigError,
    MassrlError,
    StoppedError,
    TrainingError,
    interrupt,
    suggest,
    users_fault,
)

_PROG = "massrl"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    # Torch's threads spin while they wait for each other. Beside loader processes, or on a shared
    # machine, they then take the cores that they wait for: a step can take six times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    open_streams()
    block_time_limit_signal()
    if arguments is None:  # this process is the command's own
        signal.signal(signal.SIGINT, interrupt)
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        return _until_pipe_breaks(words)
    except (Exception, KeyboardInterrupt) as error:
        code, message = _outcome(error)
        if debug:
            traceback.print_exc()
        print(f"{_PROG}: {message}", file=sys.stderr)
        return code
    finally:
        if arguments is None:  # Python's own end would print a traceback
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            # Python would end by the signal if Ctrl-C came within code that is executed from text, such as
            # that of a dataclass, although it was handled; whatever is executed next makes it forget that.
            exec("")


def _outcome(error: BaseException) -> tuple[int, str]:
    """Return the exit code of a command that raised this, and the line that is printed."""
    if isinstance(error, KeyboardInterrupt):
        return exit_code("SIGINT"), "stopped"
    if isinstance(error, StoppedError):
        return exit_code(error.signal_name), str(error)
    if isinstance(error, MassrlError):
        return 2, str(error)
    fault = users_fault(error)
    if fault is not None:
        return 2, f"{fault} (--debug shows where)"
    text = " ".join(str(error).split())
    return 1, f"unexpected {type(error).__name__}: {text} (--debug shows where)"


def open_streams() -> None:
    """Let whatever is printed be no reason to fail.

    Characters that the output's encoding does not have, such as names of files that are not UTF-8, are
    replaced. What is written to a closed stream is dropped; without that, the next file that is opened
    would take its number, and receive the lines of C libraries.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed when Python started, or a program without a terminal on Windows
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def block_time_limit_signal() -> None:
    """Block SLURM's warning of the time limit, which by default ends a process, from its start to its exit.

    A run receives it with its first step (``massrl.train.callbacks.signals``), and blocks it again after its
    last. The processes that it starts inherit the block.
    """
    if "SLURM_JOB_ID" in os.environ and hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])


def _until_pipe_breaks(words: list[str]) -> int:
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader, such as head, has closed the pipe
        _drop(sys.stdout, sys.stderr)
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        _drop(sys.stdout)
        raise TrainingError("the output cannot be written: no space left on the disk") from None


def _drop(*streams: TextIO) -> None:
    """Drop what is still to be printed, which would fail again when Python exits."""
    for stream in streams:
        with suppress(OSError, AttributeError):  # a stream that is no file has no number
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if words[0] == "--version":
        from massrl import __version__

        print(f"{_PROG} {__version__}")
        return 0
    name, rest = words[0], words[1:]
    if name == "join":
        return _join(*rest)
    if name in {command.partition(" ")[0] for command in COMMANDS if " " in command}:
        name, rest = f"{name} {rest[0] if rest else ''}".strip(), rest[1:]
    if name not in COMMANDS:
        raise ConfigError(f"unknown command {name!r}: {suggest(name, COMMANDS)}")
    if "-h" in rest or "--help" in rest:
        print(_help(name, COMMANDS[name]))
        return 0
    command = COMMANDS[name]
    refuse(rest, command.unused, why=f"massrl {name} makes no use of it; leave it out")
    refuse(
        rest, command.positional, why=f"accepted before the flags: massrl {name} {command.usage}"
    )
    return int(_load(command.run)(rest))


def _join(accelerator: str, parent: str) -> int:
    """Run a worker process that ``pretrain`` starts for each further device; its main process logs."""
    from massrl.train.workers import start_worker

    start_worker(gpu=accelerator == "gpu", parent=int(parent))
    return 0


def _load(target: str) -> Any:
    """Import ``module:object``."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: massrl COMMAND [--flags]      massrl COMMAND --help",
            "",
            "Pre-train visual backbones without labels, on views of several augmentation policies.",
            "",
            *lines,
            "",
            "  --debug with any command shows an error's traceback; --version shows the version.",
            "",
            "exit codes",
            *(f"  {code:<{width}}  {meaning}" for code, meaning in EXIT_CODES.items()),
        ]
    )


def _help(name: str, command: Command) -> str:
    words = [_PROG, name, command.usage]
    if command.options or command.own_flags:
        words.append("[--flags]")
    lines = [f"usage: {' '.join(filter(None, words))}", "", command.summary]
    if command.own_flags:
        width = max(len(flag) for flag, _ in command.own_flags)
        lines += ["", *(f"  {flag:<{width}}  {text}" for flag, text in command.own_flags)]
    if command.options is not None:
        from massrl.config.help import help_text

        options = _load(command.options)
        skip = [f"--{field}" for field in command.positional]
        skip += [flag.partition(" ")[0] for flag, _ in command.own_flags]
        skip += [f"--{field}" for field in command.unused]
        lines += ["", help_text(options, _defaults(options), skip=skip)]
    return "\n".join(lines)


def _defaults(options: type) -> dict[str, Any]:
    """Return the values that a command without flags starts from: a run's are the default recipe's."""
    from massrl.config.pretrain import Config

    if options is not Config:
        return {}
    from massrl.recipes import DEFAULT_RECIPE, read_recipe

    return read_recipe(DEFAULT_RECIPE)
