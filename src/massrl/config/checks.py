"""Checks of configuration values: each returns its fault as text, or ``None``; ``raise_faults`` raises."""

from __future__ import annotations

from collections.abc import Iterable

from massrl.errors import ConfigError, suggest

MANY = float("inf")


def choice(value: str | None, known: Iterable[str], *, flag: str) -> str | None:
    """Return the fault of a value that is not one of the known ones."""
    known = tuple(known)
    if value is None or value in known:
        return None
    return f"{flag} is {value!r}: {suggest(value, known)}"


def in_range(value: float | None, flag: str, *, low: float, high: float = MANY) -> str | None:
    """Return the fault of a number outside [low, high]."""
    if value is None or low <= value <= high:
        return None
    wanted = f"{low:g} or more" if high == MANY else f"{low:g} to {high:g}"
    return f"{flag} is {value:g}, but {wanted} is wanted"


def require(passes: bool, fault: str) -> str | None:
    """Return the fault unless the condition holds."""
    return None if passes else fault


def raise_faults(*checks: str | None) -> None:
    """Raise one ``ConfigError`` with every fault; a check that passed is ``None``."""
    faults = [fault for fault in checks if fault]
    if faults:
        raise ConfigError("; ".join(faults))


def is_policy_file(text: str) -> bool:
    """Return whether a policy is given as a YAML file of the user's own rather than by name."""
    return text.endswith((".yaml", ".yml"))
