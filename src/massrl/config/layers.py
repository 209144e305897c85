"""Nested mappings and the dataclasses they are meant for: merging, and keys that do not exist."""

from __future__ import annotations

import dataclasses
from typing import Any

from massrl.config.renamed import renamed_fault
from massrl.errors import ConfigError, suggest


def plain(value: Any) -> Any:
    """A value of YAML's own types: tuples become lists, all the way down."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value


def check_keys(content: dict[str, Any], kind: type) -> None:
    """Refuse keys that the configuration does not have, all of them at once.

    Args:
        content: a configuration as nested mappings.
        kind: the dataclass it is for.

    Raises:
        ConfigError: one line that names every unknown key and the nearest known ones.
    """
    faults = _key_faults(content, kind, kind, "")
    if faults:
        raise ConfigError("; ".join(faults))


def _key_faults(content: dict[str, Any], part: type, whole: type, prefix: str) -> list[str]:
    known = {item.name: item for item in dataclasses.fields(part)}
    faults = []
    for key, value in content.items():
        name = f"{prefix}{key}"
        if key not in known:
            unknown = f"unknown key {name}: {suggest(str(key), known)}"
            faults.append(renamed_fault(name, whole, flag=False) or unknown)
            continue
        section = section_of(known[key])
        if section is not None and isinstance(value, dict):
            faults += _key_faults(value, section, whole, f"{name}.")
        elif section is not None:
            faults.append(f"{name} is {value!r}, but a section is wanted")
    return faults


def section_of(item: dataclasses.Field[Any]) -> type | None:
    """The dataclass that a field holds a section of; ``None`` where it holds a value."""
    factory: object = item.default_factory
    return factory if isinstance(factory, type) else None


def flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dots in its keys.

    Example:
        >>> flat({"out": "a", "data": {"limit": 1}})
        {'out': 'a', 'data.limit': 1}
    """
    result: dict[str, Any] = {}
    for key, value in content.items():
        inner = isinstance(value, dict)
        result |= flat(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return result


def merge(*contents: dict[str, Any]) -> dict[str, Any]:
    """Lay nested mappings over each other; later ones win, key by key.

    Example:
        >>> merge({"data": {"limit": 1, "val": "b"}}, {"data": {"limit": 2}})
        {'data': {'limit': 2, 'val': 'b'}}
    """
    result: dict[str, Any] = {}
    for content in contents:
        for key, value in content.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merge(result[key], value) if both else value
    return result
