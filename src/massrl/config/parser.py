"""From recipes, files and flags to one checked dataclass: the only way in, for shell and Python.

Layers are merged, later ones win: the defaults of the dataclasses, a recipe, a configuration file, then
flags. The flags, and the type of every value, are those of the dataclasses' fields.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

from massrl.config.fields import accepted_text, all_fields, section_of
from massrl.config.layers import check_keys, discard_replaced, merge, merge_layers
from massrl.config.pretrain import Config
from massrl.config.renamed import renamed_fault
from massrl.config.values import read_value
from massrl.errors import ConfigError, suggest

T = TypeVar("T")


def make_config(*layers: dict[str, Any], arguments: Sequence[str] = ()) -> Config:
    """``make`` for a pre-training run."""
    return make(Config, *layers, arguments=arguments)


def make(kind: type[T], *layers: dict[str, Any], arguments: Sequence[str] = ()) -> T:
    """Merge mappings and flags into a dataclass and check it.

    Args:
        kind: the dataclass to make.
        layers: nested mappings, later ones win.
        arguments: flags such as ``--data.limit=100``, which win over all mappings.

    Raises:
        ConfigError: one line that says which key or value is wrong and what is accepted.
    """
    check_keys(merge(*layers), kind)
    given = _given(arguments, kind)
    content: dict[str, Any] = {}
    for layer in layers:
        content = merge_layers(content, layer, kind=kind)
    content = discard_replaced(content, given, kind=kind)
    made: T = _build(kind, merge(content, *(_nested(*item) for item in given.items())))
    return made


def flags(kind: type = Config) -> dict[str, str]:
    """Return every flag of a dataclass with the annotation of its field."""
    return {f"--{name}": str(item.type) for name, item in all_fields(kind).items()}


def _build(kind: Any, content: dict[str, Any], *, prefix: str = "--") -> Any:
    """Make a dataclass and its sections; the faults of all of them make one line."""
    values, faults = {}, []
    for item in dataclasses.fields(kind):
        if item.name in content:
            section, value, flag = section_of(item), content[item.name], f"{prefix}{item.name}"
            try:
                values[item.name] = (
                    _build(section, value, prefix=f"{flag}.")
                    if section is not None
                    else read_value(value, str(item.type), flag=flag)
                )
            except ConfigError as error:
                faults.append(str(error))
    if faults:
        raise ConfigError("; ".join(faults))
    return kind(**values)


def _nested(name: str, value: str) -> dict[str, Any]:
    """Return ``{"data": {"limit": value}}`` for ``data.limit``."""
    section, dot, rest = name.partition(".")
    return {section: _nested(rest, value) if dot else value}


def _given(arguments: Sequence[str], kind: type) -> dict[str, str]:
    """Return the text of each flag by dotted name; a flag that is true or false may stand alone.

    Raises:
        ConfigError: for unknown flags, and for those without a value.
    """
    known, rest = all_fields(kind), list(arguments)
    given: dict[str, str] = {}
    faults = []
    while rest:
        argument = rest.pop(0)
        flag, equals, value = argument.partition("=")
        field = known.get(flag[2:]) if flag.startswith("--") else None
        alone = not equals and (not rest or rest[0].startswith("--"))
        if not equals and not alone and flag.startswith("--"):
            value = rest.pop(0)
        if field is None:
            faults.append(_unknown(argument, kind))
        elif alone and field.type == "bool":
            given[flag[2:]] = "true"
        elif alone or not value.strip():
            faults.append(
                f"{flag} {'needs a value' if alone else 'is empty'}: {accepted_text(field)}"
            )
        else:
            given[flag[2:]] = value
    if faults:
        raise ConfigError("; ".join(faults))
    return given


def _unknown(argument: str, kind: type) -> str:
    """Return the fault of an argument that is no flag of the dataclass."""
    flag = argument.partition("=")[0]
    if flag.startswith("--"):
        renamed = renamed_fault(flag[2:], kind, flag=True)
        return renamed or f"unknown flag {flag}: {suggest(flag, flags(kind))}"
    if argument.endswith(".tar"):
        return f"unexpected argument {argument!r}: quote the pattern, as 'OUT-*.tar'"
    return f"unexpected argument {argument!r}: flags are --section.field VALUE"
