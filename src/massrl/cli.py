"""The command line: dispatch, help, errors in one line, exit codes.

Nothing heavy is imported until a verb runs, so that ``massrl --help`` answers at once. Only this
package prints and exits: 0 when done, or stopped by a signal and saved; 2 for a mistake, with one
line that says what is accepted; 1 for a fault of our own, or when broken images were found; 130 for
Ctrl-C where there was nothing to save.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from massrl.commands import COMMANDS
from massrl.errors import ConfigError, MassrlError, suggest

_PROG = "massrl"
# Fields that are given otherwise than by their flag.
_POSITIONAL = ("--recipe", "--images", "--policy")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    # Torch's threads spin while they wait for each other. Beside loader processes, or on a shared
    # machine, they then burn the very cores that they wait for: a step can take six times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        return _quietly(words)
    except MassrlError as error:
        if debug:
            raise
        print(f"{_PROG}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if debug:
            raise
        print(f"{_PROG}: stopped", file=sys.stderr)
        return 130
    except Exception as error:
        if debug:
            raise
        print(
            f"{_PROG}: unexpected {type(error).__name__}: {' '.join(str(error).split())} "
            f"(--debug shows where)",
            file=sys.stderr,
        )
        return 1


def _quietly(words: list[str]) -> int:
    try:
        return _dispatch(words)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        sys.stderr.close()
        return 0


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
    if name in ("data", "bench"):
        name, rest = f"{name} {rest[0] if rest else ''}".strip(), rest[1:]
    if name not in COMMANDS:
        raise ConfigError(f"unknown command {name!r}: {suggest(name, COMMANDS)}")
    if "-h" in rest or "--help" in rest:
        print(_help(name))
        return 0
    return int(_load(COMMANDS[name].run)(rest))


def _join(accelerator: str, parent: str) -> int:
    """What ``pretrain`` starts for each further device; the process that leads repeats what it says."""
    from massrl.train.workers import start_worker

    start_worker(gpu=accelerator == "gpu", parent=int(parent))
    return 0


def _load(target: str) -> Any:
    """Import ``module:object``."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {verb.summary}" for name, verb in COMMANDS.items()]
    return "\n".join(
        [
            "usage: massrl COMMAND [--flags]      massrl COMMAND --help",
            "",
            "Pre-train visual backbones without labels, on views of several strategies.",
            "",
            *lines,
            "",
            "  --debug on any command shows an error's whole traceback; --version the version.",
        ]
    )


def _help(name: str) -> str:
    verb = COMMANDS[name]
    lines = [f"usage: {_PROG} {name} {verb.usage} [--flags]".replace("  ", " "), "", verb.summary]
    if verb.own_flags:
        width = max(len(flag) for flag, _ in verb.own_flags)
        lines += ["", *(f"  {flag:<{width}}  {text}" for flag, text in verb.own_flags)]
    if verb.options is not None:
        from massrl.config.files import read_layers
        from massrl.config.help import help_text
        from massrl.recipes import DEFAULT_RECIPE

        options = _load(verb.options)
        defaults = read_layers(DEFAULT_RECIPE) if options.__name__ == "Config" else {}
        skip = _POSITIONAL if "OUT" not in verb.usage else (*_POSITIONAL, "--out")
        text = help_text(options, defaults, skip=skip)
        lines += ["", text, "", "In brackets: the value when nothing else is asked for."]
    return "\n".join(lines)
