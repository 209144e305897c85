"""The words of a command line that no dataclass describes: what stands before the flags, and a few flags.

Each function takes what it finds out of the list, so that what is left are flags to be checked.
"""

from __future__ import annotations

from massrl.errors import ConfigError


def take(words: list[str], flag: str) -> str | None:
    """Take ``--flag VALUE`` or ``--flag=VALUE`` out of the words."""
    value = None
    for position in range(len(words) - 1, -1, -1):
        word = words[position]
        if word.startswith(f"{flag}="):
            given = word.partition("=")[2]
            del words[position]
        elif word == flag:
            if position + 1 == len(words) or words[position + 1].startswith("--"):
                raise ConfigError(f"{flag} needs a value")
            given = words[position + 1]
            del words[position : position + 2]
        else:
            continue
        if not given:
            raise ConfigError(f"{flag} needs a value")
        value = value or given  # from the end: the last one counts
    return value


def first(words: list[str], what: str) -> str:
    """The argument before the flags."""
    if not words or words[0].startswith("--"):
        raise ConfigError(f"{what} is missing: it stands before the flags")
    return words.pop(0)


def none_left(words: list[str]) -> None:
    """Refuse what is still there."""
    if words:
        raise ConfigError(f"unexpected argument {words[0]!r}")
