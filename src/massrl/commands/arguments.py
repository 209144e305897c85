"""Arguments of the command line that are no field of a dataclass: those before the flags, and a few flags.

Each function removes what it reads from the list; the flags of the dataclass remain.
"""

from __future__ import annotations

from collections.abc import Iterable

from massrl.errors import ConfigError


def take(words: list[str], flag: str, *, wanted: str) -> str | None:
    """Remove ``--flag VALUE`` or ``--flag=VALUE`` and return the value, ``None`` if it is not there.

    Raises:
        ConfigError: if it has no value; ``wanted`` says what one is.
    """
    value = None
    for position in range(len(words) - 1, -1, -1):
        word = words[position]
        if word.startswith(f"{flag}="):
            given = word.partition("=")[2]
            del words[position]
        elif word == flag:
            if position + 1 == len(words) or words[position + 1].startswith("--"):
                raise ConfigError(f"{flag} needs a value: {wanted} is wanted")
            given = words[position + 1]
            del words[position : position + 2]
        else:
            continue
        if not given.strip():
            raise ConfigError(f"{flag} is empty: {wanted} is wanted")
        value = value or given  # read from the end: the last one counts
    return value


def switch(words: list[str], flag: str) -> bool:
    """Remove a flag without a value and return whether it is there."""
    given = flag in words
    words[:] = [word for word in words if word != flag]
    return given


def first(words: list[str], what: str) -> str:
    """Remove and return the argument before the flags; ``what`` describes it in the error."""
    if not words or words[0].startswith("--"):
        raise ConfigError(f"{what} is missing: it comes before the flags")
    return words.pop(0)


def none_left(words: list[str]) -> None:
    """Raise an error for an argument that is left over."""
    if words:
        raise ConfigError(f"unexpected argument {words[0]!r}: no further ones are accepted")


def refuse(words: list[str], names: Iterable[str], *, why: str) -> None:
    """Raise an error for a flag that is a field of a command's dataclass, but no flag of the command."""
    given = {word.partition("=")[0] for word in words}
    refused = [f"--{name}" for name in names if f"--{name}" in given]
    if refused:
        raise ConfigError(f"{', '.join(refused)}: {why}")
