"""Fields of options: their accepted values, and how layers of configuration and resuming treat them.

A command's flags come from the fields of a dataclass. What the parser, the help and a resumed run need
to know of a field beyond its type is metadata of the field, which ``option`` writes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from massrl.config.checks import choice
from massrl.config.values import wanted_text
from massrl.errors import ConfigError
from massrl.registry.calls import parse_call
from massrl.registry.table import Row

Field = dataclasses.Field[Any]


def option(
    default: Any,
    *,
    choices: Mapping[str, Any] | None = None,
    also: Mapping[str, str] | None = None,
    arguments: bool = False,
    resume: bool = False,
    renamed: Mapping[str, str] | None = None,
    group: str | None = None,
    belongs_to: str | None = None,
) -> Any:
    """Return a dataclass field.

    Args:
        default: the default value.
        choices: accepted values with their meanings, or a table of parts. Help and error messages list
            them. Of a tuple, each item is one.
        also: values that are accepted beside those of a table.
        arguments: whether a part may be given arguments, as ``name(argument, key=value)``.
        resume: whether the value may change when a run is resumed.
        renamed: former names of accepted values, which are refused with their new names.
        group: fields of one group replace each other: a layer that sets one drops the others of the
            layers below.
        belongs_to: another field, such as ``views.layout``: a layer that changes it drops this one of
            the layers below.
    """
    facts = {
        "choices": choices,
        "also": also or {},
        "arguments": arguments,
        "resume": resume,
        "renamed": renamed or {},
        "group": group,
        "belongs_to": belongs_to,
    }
    return dataclasses.field(default=default, metadata=facts)


def section_of(item: Field) -> type | None:
    """Return the dataclass that a field holds a section of; ``None`` where it holds a value."""
    factory: object = item.default_factory
    return factory if isinstance(factory, type) else None


def all_fields(kind: Any, prefix: str = "") -> dict[str, Field]:
    """Return every field of a dataclass and its sections that holds a value, by dotted name."""
    found: dict[str, Field] = {}
    for item in dataclasses.fields(kind):
        section = section_of(item)
        name = f"{prefix}{item.name}"
        found |= all_fields(section, f"{name}.") if section is not None else {name: item}
    return found


def changeable_on_resume(kind: type) -> tuple[str, ...]:
    """Return the dotted names of the fields that may change when a run is resumed."""
    return tuple(name for name, item in all_fields(kind).items() if item.metadata.get("resume"))


def field_faults(config: Any, prefix: str = "--") -> list[str]:
    """Return a fault for each value of a dataclass that is not a choice of its field.

    Its sections are not looked into. A text where a list of texts is wanted, which Python would take
    letter by letter, is a fault too.

    Args:
        config: the dataclass.
        prefix: of its flags, such as ``--data.``.
    """
    faults: list[str] = []
    for item in dataclasses.fields(config):
        flag, value = f"{prefix}{item.name}", getattr(config, item.name)
        if isinstance(value, str) and str(item.type).startswith("tuple[str"):
            faults.append(f"{flag} is {value!r}, but a list of texts is wanted")
        elif item.metadata.get("choices") is not None and value is not None:
            values = value if isinstance(value, tuple) else (value,)
            faults += filter(None, (_choice_fault(one, item, flag=flag) for one in values))
    return faults


def _choice_fault(value: str, item: Field, *, flag: str) -> str | None:
    choices, also, renamed = (item.metadata[key] for key in ("choices", "also", "renamed"))
    if value in renamed:
        return f"{flag}: {value!r} is now {renamed[value]!r}"
    name = value
    if item.metadata["arguments"] and value not in also:
        try:
            name = parse_call(value, flag=flag).name
        except ConfigError as error:
            return str(error)
    return choice(name, (*choices, *also), flag=flag)


def accepted_text(item: Field) -> str:
    """Return what a field takes, for an error: its choices, or its type in words."""
    choices, wanted = item.metadata.get("choices"), wanted_text(str(item.type))
    if choices is None:
        return f"{wanted} is wanted"
    return f"known: {', '.join(sorted([*choices, *item.metadata['also']]))}"


def choices_text(item: Field) -> str:
    """Return the accepted values of a field as a sentence, empty where any value is.

    Nothing is imported for it: a part of another package is shown with the package's name.
    """
    choices = item.metadata.get("choices")
    if choices is None:
        return ""
    meanings = {
        name: _meaning(value) for name, value in {**choices, **item.metadata["also"]}.items()
    }
    if not any(meanings.values()):
        return ", ".join(f"`{name}`" for name in meanings) + "."
    parts = [f"`{name}`: {text}" if text else f"`{name}`" for name, text in meanings.items()]
    return "; ".join(parts) + "."


def _meaning(value: Any) -> str:
    if isinstance(value, Row):
        return value.summary or f"of package {value.package}"
    return str(value)
