"""Values of options: from the text of a flag, or YAML's own types, to the type of a field."""

from __future__ import annotations

import contextlib
import json
import math
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from massrl.errors import ConfigError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

# annotation of a field -> its type, and what it takes in words
_TYPES: dict[str, tuple[Any, str]] = {
    "int": (int, "a whole number"),
    "float": (float, "a number"),
    "bool": (bool, "true or false"),
    "str": (str, "text"),
    "tuple[str, ...]": (tuple[str, ...], "a list of texts"),
    "tuple[int, ...]": (tuple[int, ...], "a list of whole numbers"),
    "tuple[float, ...]": (tuple[float, ...], "a list of numbers"),
    "tuple[float, float]": (tuple[float, float], "a list of two numbers"),
    "tuple[float, float, float]": (tuple[float, float, float], "a list of three numbers"),
}


def wanted_text(annotation: str) -> str:
    """Return what a field of this annotation takes, in words."""
    return _TYPES[annotation.removesuffix(" | None")][1]


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
    if kind == "bool" and isinstance(value, str):  # YAML takes "no" and "off" too
        value = {"true": True, "false": False}.get(value.lower(), value)
        if isinstance(value, str):
            raise ConfigError(f"{flag} is {value!r}, but {wanted_text(kind)} is wanted")
    parts = split_list(value) if kind.startswith("tuple[") and isinstance(value, str) else value
    try:
        read = _reader(kind).parse_object({"value": parts}).value
    except Exception:  # argparse.ArgumentError, TypeError, ValueError: all "not of the type"
        read = None
    items = read if isinstance(read, tuple) else (read,)
    unusable = (None, "") if kind != "str" else (None,)
    if any(item in unusable or not _is_finite(item) for item in items):
        raise ConfigError(f"{flag} is {value!r}, but {wanted_text(kind)} is wanted")
    return read


@cache
def _reader(kind: str) -> ArgumentParser:
    """Return jsonargparse's parser of one type."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=_TYPES[kind][0])
    return parser


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


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
