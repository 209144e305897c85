"""From recipes, files and flags to one checked dataclass: the only way in, for shell and Python.

Layers are merged, later ones win: the defaults of the dataclasses, a recipe, a configuration file, then
flags. jsonargparse derives the flags and the check of every value's type from the dataclasses.
"""

from __future__ import annotations

import dataclasses
import json
import re
import warnings
from collections.abc import Sequence
from typing import Any, TypeVar

from jsonargparse import ArgumentParser

from massrl.config.fields import all_fields, section_of
from massrl.config.layers import check_keys, discard_replaced, flat, merge, merge_layers
from massrl.config.pretrain import Config
from massrl.config.renamed import TASKS, renamed_fault, renamed_task
from massrl.errors import ConfigError, suggest

T = TypeVar("T")

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
    words = _as_json(arguments, kind)
    content: dict[str, Any] = {}
    for layer in layers:
        content = merge_layers(content, _split_texts(layer, kind), kind=kind)
    given = dict(word[2:].partition("=")[::2] for word in words)
    content = discard_replaced(content, given, kind=kind)
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_class_arguments(kind, as_group=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # jsonargparse announces its next version's changes
            base = parser.parse_object(content)
            namespace = parser.parse_args(words, namespace=base)
    except Exception as error:  # argparse.ArgumentError, TypeError, ValueError: all "wrong input"
        raise ConfigError(_one_line(str(error), kind)) from None
    values = _lists_to_tuples(namespace.as_dict())
    _refuse_empty(values, kind)
    _refuse_old_tasks(values.get("task"))
    made: T = _build(kind, values)
    return made


def flags(kind: type = Config) -> dict[str, str]:
    """Return every flag of a dataclass with the annotation of its field."""
    return {f"--{name}": str(item.type) for name, item in all_fields(kind).items()}


def _refuse_empty(content: dict[str, Any], kind: type) -> None:
    """Refuse an empty value, which the parser lets through, where a field needs one."""
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
    """Make a dataclass and its sections; the faults of all sections make one line."""
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


def _as_json(arguments: Sequence[str], kind: type) -> list[str]:
    """Return ``--flag=VALUE`` words with JSON values: lists for comma lists, true for a bare flag."""
    joined: list[str] = []
    rest = list(arguments)
    while rest:
        flag = rest.pop(0)
        if flag.startswith("--") and "=" not in flag and rest and not rest[0].startswith("--"):
            flag = f"{flag}={rest.pop(0)}"
        joined.append(flag)
    faults = [fault for argument in joined if (fault := _flag_fault(argument, kind))]
    if faults:
        raise ConfigError("; ".join(faults))
    known = flags(kind)
    result = []
    for argument in joined:
        flag, equals, value = argument.partition("=")
        if not equals and known[flag] == "bool":
            equals, value = "=", "true"
        if equals and "tuple" in known[flag] and not value.startswith(("[", "null")):
            texts = known[flag].startswith("tuple[str")
            value = json.dumps(_parts(value)) if texts else f"[{', '.join(_parts(value))}]"
        result.append(f"{flag}{equals}{value}")
    return result


def _split_texts(content: dict[str, Any], kind: type) -> dict[str, Any]:
    """Return a mapping whose lists of texts may be given as on the command line."""
    known = {item.name: item for item in dataclasses.fields(kind)}
    split: dict[str, Any] = {}
    for key, value in content.items():
        section = section_of(known[key])
        if section is not None and isinstance(value, dict):
            value = _split_texts(value, section)
        elif isinstance(value, str) and str(known[key].type).startswith("tuple[str"):
            value = _parts(value)
        split[key] = value
    return split


def _parts(text: str) -> list[str]:
    """Split ``simclr,randaugment(2,9)`` at commas outside parentheses."""
    return [part.strip() for part in re.split(r",(?![^()]*\))", text)]


def _flag_fault(argument: str, kind: type) -> str | None:
    flag, known = argument.partition("=")[0], flags(kind)
    if not flag.startswith("--"):
        if argument.endswith(".tar"):
            return f"unexpected argument {argument!r}: quote the pattern, as 'OUT-*.tar'"
        return f"unexpected argument {argument!r}: flags are --section.field VALUE"
    if flag in known:
        return None
    renamed = renamed_fault(flag[2:], kind, flag=True)
    return renamed or f"unknown flag {flag}: {suggest(flag, known)}"


def _one_line(message: str, kind: type) -> str:
    """Return jsonargparse's message about a value as one line: the flag, the value, what is wanted."""
    key = re.search(r'[Pp]arser key "([\w.]+)"', message)
    value = re.search(r"(?:Given value|Got value): (.*)", message)
    if key and value and f"--{key[1]}" in flags(kind):
        annotation = flags(kind)[f"--{key[1]}"].removesuffix(" | None")
        wanted = _TYPES.get(annotation, annotation)
        return f"--{key[1]} is {value[1]!r}, but {wanted} is wanted"
    return " ".join(message.split())
