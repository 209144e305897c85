"""From recipes, files and flags to one checked ``Config``: the only way in, for shell and Python.

Layers are laid over each other, later ones win: the defaults of the dataclasses, a recipe, a
configuration file, then flags. jsonargparse derives the flags, their help and the check of every
value from the dataclasses of ``config``.
"""

from __future__ import annotations

import dataclasses
import json
import re
import warnings
from collections.abc import Sequence
from typing import Any, TypeVar

from docstring_parser import parse_from_object
from jsonargparse import ArgumentParser, set_parsing_settings

from massrl.config.layers import check_keys, flat, merge, section_of
from massrl.config.pretrain import Config
from massrl.config.renamed import TASKS, renamed_fault, renamed_task
from massrl.errors import ConfigError, suggest

set_parsing_settings(docstring_parse_attribute_docstrings=True)

T = TypeVar("T")

_LENGTHS = ("train.max_steps", "train.time_budget", "train.epochs")
_OF_LAYOUT = ("views.policies", "views.num_crops", "views.crop", "method.pairs")

_TYPES = {
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


def build_parser(kind: type = Config, prog: str = "massrl pretrain") -> ArgumentParser:
    """The parser of every flag of a dataclass, from its fields and their docstrings."""
    parser = ArgumentParser(prog=prog, exit_on_error=False, allow_abbrev=False)
    parser.add_class_arguments(kind, as_group=True)
    return parser


def make_config(*layers: dict[str, Any], arguments: Sequence[str] = ()) -> Config:
    """``make`` for a pre-training run."""
    return make(Config, *layers, arguments=arguments)


def make(kind: type[T], *layers: dict[str, Any], arguments: Sequence[str] = ()) -> T:
    """Lay mappings and flags over each other and check the whole.

    Args:
        kind: the dataclass to make.
        layers: nested mappings, later ones win.
        arguments: flags such as ``--data.limit=100``, which win over all mappings.

    Raises:
        ConfigError: one line that says which key or value is wrong and what is accepted.
    """
    check_keys(merge(*layers), kind)
    words = _split_lists(arguments, kind)
    content: dict[str, Any] = {}
    for layer in layers:
        content = merge_layers(content, _texts_split(layer, kind))
    content = _superseded(content, dict(word[2:].partition("=")[::2] for word in words))
    parser = build_parser(kind)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # jsonargparse tells its developers of its next version
            base = parser.parse_object(content)
            namespace = parser.parse_args(words, namespace=base)
    except Exception as error:  # argparse.ArgumentError, TypeError, ValueError: all "wrong input"
        raise ConfigError(_one_line(str(error), kind)) from None
    values = _lists_to_tuples(namespace.as_dict())
    _refuse_nothing(values, kind)
    _refuse_old_tasks(values.get("task"))
    made: T = _build(kind, values)
    return made


def merge_layers(lower: dict[str, Any], upper: dict[str, Any]) -> dict[str, Any]:
    """Merge two layers; what the upper one replaces as a whole does not shine through from below.

    A length (``train.max_steps``, ``time_budget`` or ``epochs``) replaces all lengths, and another
    ``views.layout`` the strategies, crops and pairs that belonged to the layout below.
    """
    return merge(_superseded(lower, flat(upper)), upper)


def _superseded(content: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    layout = content.get("views", {}).get("layout")
    gone: tuple[str, ...] = ()
    if any(given.get(length) not in (None, "null") for length in _LENGTHS):
        gone += _LENGTHS
    if layout is not None and given.get("views.layout", layout) != layout:
        gone += _OF_LAYOUT
    return {
        key: {name: item for name, item in value.items() if f"{key}.{name}" not in gone}
        if isinstance(value, dict)
        else value
        for key, value in content.items()
    }


def help_text(
    kind: type, defaults: dict[str, Any] | None = None, *, skip: Sequence[str] = ()
) -> str:
    """The help of every flag of a dataclass, section by section.

    Args:
        kind: the dataclass.
        defaults: nested mappings that go before the fields' own defaults.
        skip: flags to leave out.
    """
    lines: list[str] = []
    width = max(len(flag) for flag in flags(kind)) + 2

    def section(part: Any, prefix: str, given: dict[str, Any]) -> None:
        described = {
            item.arg_name: item.description or "" for item in parse_from_object(part).params
        }
        for item in dataclasses.fields(part):
            inner = section_of(item)
            if inner is not None:
                lines.append(f"\n{described.get(item.name, '')}")
                section(inner, f"{prefix}{item.name}.", given.get(item.name, {}))
            elif f"--{prefix}{item.name}" not in skip:
                text = " ".join(described.get(item.name, "").split())
                value = given.get(item.name, item.default)
                default = "" if value in (None, "") else f" [{_shown(value)}]"
                lines.append(f"  --{prefix + item.name:<{width}}{text}{default}")

    section(kind, "", defaults or {})
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _refuse_nothing(content: dict[str, Any], kind: type) -> None:
    """Refuse an empty value, which the parser lets through, where a field wants one."""
    given, known = flat(content), flags(kind)
    empty = [
        f"--{key} is empty, but {_TYPES.get(known[f'--{key}'], known[f'--{key}'])} is wanted"
        for key, value in given.items()
        if value is None and "None" not in known.get(f"--{key}", "None")
    ]
    if empty:
        raise ConfigError("; ".join(empty))


def _refuse_old_tasks(tasks: Any) -> None:
    """Refuse evaluation tasks under the names they had before."""
    if isinstance(tasks, tuple) and any(task in TASKS for task in tasks):
        old = [f"{task!r} is now {renamed_task(task)!r}" for task in tasks if task in TASKS]
        raise ConfigError(f"--task: {', '.join(old)}")


def _build(kind: Any, content: dict[str, Any]) -> Any:
    """Make a dataclass and those within it; the faults of all sections come as one line."""
    values, faults = {}, []
    for item in dataclasses.fields(kind):
        if item.name in content:
            section, value = section_of(item), content[item.name]
            try:
                values[item.name] = _build(section, value) if section else value
            except ConfigError as error:
                faults.append(str(error))
    if faults:
        raise ConfigError("; ".join(faults))
    return kind(**values)


def _lists_to_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists_to_tuples(item) for key, item in value.items()}
    return tuple(map(_lists_to_tuples, value)) if isinstance(value, list) else value


def _split_lists(arguments: Sequence[str], kind: type) -> list[str]:
    """Flags as JSON means them: ``simclr,randaugment(2,9)`` as a list, a bare ``--untrained`` as true."""
    joined: list[str] = []
    waiting = list(arguments)
    while waiting:
        flag = waiting.pop(0)
        if (
            flag.startswith("--")
            and "=" not in flag
            and waiting
            and not waiting[0].startswith("--")
        ):
            flag = f"{flag}={waiting.pop(0)}"
        joined.append(flag)
    known = flags(kind)
    faults = [fault for argument in joined if (fault := _flag_fault(argument, kind))]
    if faults:
        raise ConfigError("; ".join(faults))
    result = []
    for argument in joined:
        flag, equals, value = argument.partition("=")
        if not equals and known[flag] == "bool":
            equals, value = "=", "true"
        if equals and "tuple" in known[flag] and not value.startswith(("[", "null")):
            words = known[flag].startswith("tuple[str")
            value = json.dumps(_parts(value)) if words else f"[{', '.join(_parts(value))}]"
        result.append(f"{flag}{equals}{value}")
    return result


def _texts_split(content: dict[str, Any], kind: type) -> dict[str, Any]:
    """Mappings in which a list of texts may be given as on the command line."""
    known = {item.name: item for item in dataclasses.fields(kind)}
    split: dict[str, Any] = {}
    for key, value in content.items():
        section = section_of(known[key])
        if section is not None and isinstance(value, dict):
            value = _texts_split(value, section)
        elif isinstance(value, str) and str(known[key].type).startswith("tuple[str"):
            value = _parts(value)
        split[key] = value
    return split


def _parts(text: str) -> list[str]:
    """``simclr,randaugment(2,9)`` in two: a comma within brackets divides nothing."""
    return [part.strip() for part in re.split(r",(?![^()]*\))", text)]


def _flag_fault(argument: str, kind: type) -> str | None:
    flag, known = argument.partition("=")[0], flags(kind)
    if not flag.startswith("--"):
        if argument.endswith(".tar"):
            return f"unexpected argument {argument!r}: a pattern is to be quoted, as 'OUT-*.tar'"
        return f"unexpected argument {argument!r}: flags are --section.field VALUE"
    if flag in known:
        return None
    renamed = renamed_fault(flag[2:], kind, flag=True)
    return renamed or f"unknown flag {flag}: {suggest(flag, known)}"


def flags(kind: type = Config, prefix: str = "") -> dict[str, str]:
    """Every flag of a dataclass and the annotation of its field."""
    known: dict[str, str] = {}
    for item in dataclasses.fields(kind):
        section = section_of(item)
        if section is not None:
            known |= flags(section, f"{prefix}{item.name}.")
        else:
            known[f"--{prefix}{item.name}"] = str(item.type)
    return known


def _one_line(message: str, kind: type) -> str:
    """The parser's many lines about a value as one: the flag, the value, what is wanted."""
    key = re.search(r'[Pp]arser key "([\w.]+)"', message)
    value = re.search(r"(?:Given value|Got value): (.*)", message)
    if key and value and f"--{key[1]}" in flags(kind):
        annotation = flags(kind)[f"--{key[1]}"].removesuffix(" | None")
        wanted = _TYPES.get(annotation, annotation)
        return f"--{key[1]} is {value[1]!r}, but {wanted} is wanted"
    return " ".join(message.split())
