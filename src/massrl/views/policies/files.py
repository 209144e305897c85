"""A policy of the user's own, read from a YAML file.

The file lists its operations, and groups of them::

    operations:
      - {operation: rotate, prob: 0.5, range: [-180, 180]}
      - {operation: gaussian_blur, prob: 0.3, range: [0.1, 1.5]}
      - choose: 1                       # one of these two; leave out for all
        shuffle: true                   # in a random order
        prob: 0.8
        operations:
          - {operation: brightness, range: [0.7, 1.3]}
          - {operation: contrast, range: [0.7, 1.3]}
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from massrl.errors import ConfigError, suggest
from massrl.registry import POLICIES
from massrl.views.operations.base import operations
from massrl.views.policies.base import Draw, Group

_FLAG = POLICIES.flag


def read_policy_file(path: Path) -> Group:
    """Read a policy from a YAML file; the module's docstring shows the form.

    Raises:
        ConfigError: if the file cannot be read or is no policy.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"cannot read the policy file {path}: {reason} ({_FLAG})") from None
    if isinstance(content, list):
        content = {"operations": content}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is not a list of operations ({_FLAG})")
    return _group(content, where=str(path))


def _group(entry: dict[str, Any], *, where: str) -> Group:
    _known_keys(entry, ("operations", "prob", "shuffle", "choose"), where)
    members = entry["operations"]
    if not isinstance(members, list) or not all(isinstance(item, dict) for item in members):
        raise ConfigError(f"{where}: operations must be a list of mappings ({_FLAG})")
    return Group(
        members=tuple(
            _group(item, where=where) if "operations" in item else _draw(item, where=where)
            for item in members
        ),
        prob=_number(entry.get("prob", 1.0), "prob", where),
        shuffle=_truth(entry.get("shuffle", False), "shuffle", where),
        choose=_count(entry.get("choose"), "choose", where),
    )


def _draw(entry: dict[str, Any], *, where: str) -> Draw:
    _known_keys(entry, ("operation", "prob", "range"), where)
    name = str(entry.get("operation", ""))
    known = operations[name]
    ends = entry.get("range", [known.low, known.high] if not known.has_value else None)
    if not isinstance(ends, list) or len(ends) != 2:
        raise ConfigError(
            f"{where}: {name} needs range: [low, high] within "
            f"[{known.low:g}, {known.high:g}] ({_FLAG})"
        )
    low, high = (_number(end, "range", where) for end in ends)
    prob = _number(entry.get("prob", 1.0), "prob", where)
    return Draw(operation=name, prob=prob, low=low, high=high)


def _known_keys(entry: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in entry:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}: {suggest(str(key), known)} ({_FLAG})")
    if known[0] not in entry:
        raise ConfigError(f"{where}: {known[0]!r} is missing ({_FLAG})")


def _truth(value: object, what: str, where: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{where}: {what} is {value!r}, but true or false is wanted ({_FLAG})")
    return value


def _count(value: object, what: str, where: str) -> int | None:
    if value is not None and type(value) is not int:
        raise ConfigError(f"{where}: {what} is {value!r}, but a whole number is wanted ({_FLAG})")
    return value


def _number(value: object, what: str, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{where}: {what} is {value!r}, but a number is wanted ({_FLAG})")
    return float(value)
