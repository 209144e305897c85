"""Layers of configuration as nested mappings: check their keys, merge them."""

from __future__ import annotations

import dataclasses
from typing import Any

from massrl.config.fields import all_fields, section_of
from massrl.config.renamed import renamed_fault
from massrl.errors import ConfigError, suggest


def plain(value: Any) -> Any:
    """Return a value of YAML's own types: tuples become lists, at any depth."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value


def check_keys(content: dict[str, Any], kind: type) -> None:
    """Check that a dataclass has a field for every key.

    Args:
        content: nested mappings.
        kind: the dataclass.

    Raises:
        ConfigError: one line that names every unknown key, with the nearest known ones.
    """
    faults = _key_faults(content, kind, whole=kind, prefix="")
    if faults:
        raise ConfigError("; ".join(faults))


def _key_faults(content: dict[str, Any], part: type, *, whole: type, prefix: str) -> list[str]:
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
            faults += _key_faults(value, section, whole=whole, prefix=f"{name}.")
        elif section is not None:
            faults.append(f"{name} is {value!r}, but a section is wanted")
    return faults


def flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one mapping with dotted keys.

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
    """Merge nested mappings; later ones win, key by key.

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


def merge_layers(lower: dict[str, Any], upper: dict[str, Any], *, kind: type) -> dict[str, Any]:
    """Merge ``upper`` over ``lower``; a new run length or layout discards the old one's dependent fields.

    Args:
        lower: nested mappings.
        upper: nested mappings, which win.
        kind: the dataclass; its fields say which of them depend on each other, see ``option``.
    """
    return merge(discard_replaced(lower, flat(upper), kind=kind), upper)


def discard_replaced(
    content: dict[str, Any], given: dict[str, Any], *, kind: type
) -> dict[str, Any]:
    """Return nested mappings without the fields that the next layer replaces as a whole.

    Args:
        content: nested mappings.
        given: the next layer by dotted name; a flag's value is text, where ``null`` is none.
        kind: the dataclass.
    """
    fields, values = all_fields(kind), flat(content)
    groups = {
        fields[name].metadata.get("group")
        for name, value in given.items()
        if name in fields and value not in (None, "null")
    }
    changed = {
        name
        for name, value in given.items()
        if values.get(name) is not None and values[name] != value
    }
    discarded = {
        name
        for name, item in fields.items()
        if item.metadata.get("group") in groups - {None}
        or item.metadata.get("belongs_to") in changed
    }
    return _without(content, discarded)


def _without(content: dict[str, Any], names: set[str], *, prefix: str = "") -> dict[str, Any]:
    return {
        key: _without(value, names, prefix=f"{prefix}{key}.") if isinstance(value, dict) else value
        for key, value in content.items()
        if f"{prefix}{key}" not in names
    }
