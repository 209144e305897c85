"""Help of a dataclass of options: one line per flag, from the fields and their docstrings."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from docstring_parser import parse_from_object

from massrl.config.fields import all_fields, choices_text, section_of


def help_text(
    kind: type, defaults: dict[str, Any] | None = None, *, skip: Sequence[str] = ()
) -> str:
    """Return the help of every flag of a dataclass, section by section.

    Args:
        kind: the dataclass.
        defaults: nested mappings that take precedence over the fields' own defaults.
        skip: flags to leave out.
    """
    width = max(len(name) for name in all_fields(kind)) + 4
    lines = _section(kind, defaults or {}, prefix="", width=width, skip=skip)
    if any(line.endswith("]") for line in lines):
        lines += ["", "In brackets: the default."]
    return "\n".join(lines)


def _section(
    kind: Any, defaults: dict[str, Any], *, prefix: str, width: int, skip: Sequence[str]
) -> list[str]:
    described = {item.arg_name: item.description or "" for item in parse_from_object(kind).params}
    lines = []
    # Plain fields first: below a section's heading they would read as parts of it.
    for item in sorted(dataclasses.fields(kind), key=lambda item: section_of(item) is not None):
        section = section_of(item)
        text = " ".join(described.get(item.name, "").split())
        if section is not None:
            inner, name = defaults.get(item.name, {}), f"{prefix}{item.name}."
            lines += [f"\n{text}", *_section(section, inner, prefix=name, width=width, skip=skip)]
        elif f"--{prefix}{item.name}" not in skip:
            value = defaults.get(item.name, item.default)
            default = "" if value in (None, "", (), []) else f"[{_shown(value)}]"
            words = filter(None, (text, choices_text(item), default))
            lines.append(f"  {f'--{prefix}{item.name}':<{width}}{' '.join(words)}")
    return lines


def _shown(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
