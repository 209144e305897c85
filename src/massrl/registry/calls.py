"""The notation that parts are asked for in: ``name`` or ``name(argument, key=value)``.

``randaugment(2,9)``, ``shapes(count=4000,size=32)``: one notation and one parser serve the command line,
recipes and Python. Nothing is evaluated: an argument is a number, a truth value or a bare word.
"""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from massrl.errors import ConfigError, suggest

Argument = int | float | bool | str

_CALL = re.compile(r"^\s*([A-Za-z][\w.\-]*)\s*(?:\(([^()]*)\))?\s*$")


class Call(NamedTuple):
    """A parsed call: its name, positional and keyword arguments."""

    name: str
    arguments: tuple[Argument, ...]
    keywords: dict[str, Argument]


def parse_call(text: str, *, flag: str) -> Call:
    """Read ``name`` or ``name(argument, key=value)``.

    Args:
        text: what the user wrote.
        flag: the flag it came from, for the error.

    Raises:
        ConfigError: if the text does not have this form.

    Example:
        >>> parse_call("randaugment(2, m=9)", flag="--views.policies")
        Call(name='randaugment', arguments=(2,), keywords={'m': 9})
    """
    match = _CALL.match(text)
    if match is None:
        raise ConfigError(f"{text!r} is not of the form name or name(arguments) ({flag})")
    arguments: list[Argument] = []
    keywords: dict[str, Argument] = {}
    for part in filter(None, (piece.strip() for piece in (match[2] or "").split(","))):
        key, equals, value = part.partition("=")
        if equals:
            keywords[key.strip()] = _literal(value.strip())
        else:
            arguments.append(_literal(part))
    return Call(match[1], tuple(arguments), keywords)


def bind_call(call: Call, function: Callable[..., Any], *, flag: str) -> Any:
    """Call ``function`` with the parsed arguments.

    Raises:
        ConfigError: for unknown, missing, surplus or wrongly typed arguments.
    """
    bound = bind_arguments(call, function, flag=flag)
    return function(*bound.args, **bound.kwargs)


def bind_arguments(
    call: Call, function: Callable[..., Any], *, flag: str
) -> inspect.BoundArguments:
    """Check the parsed arguments against the signature of ``function``, without calling it.

    Raises:
        ConfigError: for unknown, missing, surplus or wrongly typed arguments.
    """
    signature = inspect.signature(function)
    unknown = [key for key in call.keywords if key not in signature.parameters]
    if unknown:
        parameters = signature.parameters
        known = suggest(unknown[0], parameters) if parameters else "it takes none"
        raise ConfigError(f"{call.name} has no argument {unknown[0]!r}: {known} ({flag})")
    try:
        bound = signature.bind(*call.arguments, **call.keywords)
    except TypeError as error:
        accepted = ", ".join(str(item) for item in signature.parameters.values())
        raise ConfigError(f"{call.name}: {error}; accepted: ({accepted}) ({flag})") from None
    for key, value in bound.arguments.items():
        default = signature.parameters[key].default
        wanted = float if isinstance(default, float) else type(default)
        if default not in (inspect.Parameter.empty, None) and not _fits(value, wanted):
            raise ConfigError(
                f"{call.name}: {key} is {value!r}, but a {wanted.__name__} is wanted ({flag})"
            )
    return bound


def _fits(value: Argument, wanted: type) -> bool:
    if wanted is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is wanted


def _literal(text: str) -> Argument:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError):
        return float(text)
    return text.strip("'\"")
