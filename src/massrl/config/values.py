"""Values of options: from the text of a flag, or YAML's own types, to the type of a field."""

from __future__ import annotations

import contextlib
import json
import math
import re
from typing import Any

from massrl.errors import ConfigError

_WANTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "tuple[str, ...]": "a list of texts",
    "tuple[int, ...]": "a list of whole numbers",
    "tuple[float, ...]": "a list of numbers",
    "tuple[float, float]": "a list of two numbers",
    "tuple[float, float, float]": "a list of three numbers",
}


def wanted_text(annotation: str) -> str:
    """Return what a field of this annotation takes, in words."""
    return _WANTED[annotation.removesuffix(" | None")]


def read_value(value: Any, annotation: str, *, flag: str) -> Any:
    """Return a value in the type of a field.

    Args:
        value: of that type, of a type that YAML has for it, or text as on the command line, where ``null``
            is none and a list is ``a,b`` or ``["a", "b"]``.
        annotation: the field's, such as ``tuple[float, ...] | None``.
        flag: for errors.

    Raises:
        ConfigError: if the value is not of the type.

    Example:
        >>> read_value("0.2,1", "tuple[float, float] | None", flag="--views.crop_scale")
        (0.2, 1.0)
    """
    kind = annotation.removesuffix(" | None")
    if value is None or (value == "null" and annotation != "str"):
        if kind != annotation:
            return None
        raise ConfigError(f"{flag} is empty, but {wanted_text(kind)} is wanted")
    try:
        return _convert(value, kind)
    except (ValueError, OverflowError):
        raise ConfigError(f"{flag} is {value!r}, but {wanted_text(kind)} is wanted") from None


def _convert(value: Any, kind: str) -> Any:
    """Return the value in a type that is not optional; ``ValueError`` if it is none of the type."""
    if kind.startswith("tuple["):
        return _read_tuple(value, kind[len("tuple[") : -1].split(", "))
    if kind == "str" and isinstance(value, str):
        return value
    if kind == "bool" and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    number = isinstance(value, str | int | float) and not isinstance(value, bool)
    if kind == "int" and number and not isinstance(value, float):
        return int(value)
    if kind == "float" and number and math.isfinite(float(value)):
        return float(value)
    raise ValueError


def _read_tuple(value: Any, kinds: list[str]) -> tuple[Any, ...]:
    items = split_list(value) if isinstance(value, str) else value
    if kinds[-1] == "..." and isinstance(items, list | tuple):
        kinds = kinds[:1] * len(items)
    if not isinstance(items, list | tuple) or len(items) != len(kinds) or "" in items:
        raise ValueError
    return tuple(_convert(item, kind) for item, kind in zip(items, kinds, strict=True))


def split_list(text: str) -> list[Any]:
    """Split ``simclr,randaugment(2,9)`` at commas outside parentheses; JSON's own lists are read too.

    Example:
        >>> split_list("simclr, randaugment(2,9)")
        ['simclr', 'randaugment(2,9)']
        >>> split_list('["a,b", "c"]')
        ['a,b', 'c']
    """
    if text.startswith("[") and text.endswith("]"):
        with contextlib.suppress(ValueError):  # [a, b] without quotation marks is no JSON
            items: list[Any] = json.loads(text)
            return items
        text = text[1:-1]
    return [part.strip() for part in re.split(r",(?![^()]*\))", text)]
