"""Names that have changed since version 0.1.0: one table, refused when typed and translated when read.

A user who types an old name is told the new one (:func:`renamed_fault`). Files that version 0.1.0
wrote keep working, because they are translated when they are read (``translate_…``). A rename is a
row here and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIELDS: dict[str, dict[str, str]] = {
    "Config": {
        "method.objective": "method.name",
        "method.target": "method.target_reduction",
        "train.seconds": "train.time_budget",
    },
    "EvaluateConfig": {
        "look": "features",
        "semi.rates": "semi.lrs",
        "semi.shares": "semi.fractions",
        "sgd.rates": "sgd.lrs",
        "transfer.rates": "transfer.lrs",
        "untrained": "random_init",
    },
    "ImportConfig": {
        name: f"model.{name}" for name in ("backbone", "stem", "part", "size", "mean", "std")
    },
}
"""Fields, by the dataclass that a command's flags come from; a renamed section renames all its fields."""

TASKS: dict[str, str] = {"look": "features", "semi": "semi-supervised"}
"""Evaluation tasks, in ``--task`` and in ``results.json``, where ``task-detail`` names a result."""

RESULT_KEYS: dict[str, str] = {"strength": "C", "moved": "invariance", "rate": "lr"}
"""Keys of one task's result in ``results.json``."""

METRICS_COLUMNS: dict[str, str] = {
    "deviation": "embedding_std",
    "feature_deviation": "feature_std",
    "prediction_deviation": "prediction_std",
}
"""Columns of ``metrics.csv``."""

_SECTIONS = {"recipe", "out", "data", "views", "method", "model", "optim", "train"}


def renamed_field(name: str, kind: type) -> str | None:
    """Return the new name of a field, ``None`` where it has not changed.

    Args:
        name: the old one with its sections, such as ``train.seconds``.
        kind: the dataclass that holds the sections.

    Example:
        >>> from massrl.config.pretrain import Config
        >>> renamed_field("train.seconds", Config)
        'train.time_budget'
    """
    table = FIELDS.get(kind.__name__, {})
    if name in table:
        return table[name]
    section, dot, rest = name.rpartition(".")
    renamed = renamed_field(section, kind) if dot else None
    return f"{renamed}.{rest}" if renamed else None


def renamed_fault(name: str, kind: type, *, flag: bool) -> str | None:
    """Return the error for an old field name, ``None`` where the name has not changed.

    Args:
        name: the name that was given, with its sections and without dashes.
        kind: the dataclass that holds the sections.
        flag: whether it was given as a flag; otherwise it is a key of a file or mapping.
    """
    new = renamed_field(name, kind)
    if new is None:
        return None
    return f"flag --{name} is now --{new}" if flag else f"key {name} is now {new}"


def renamed_task(name: str) -> str:
    """Return the present name of a task or of its result.

    Example:
        >>> renamed_task("knn")
        'knn'
    """
    for old, new in TASKS.items():
        if _is_of(name, old) and not _is_of(name, new):
            return new + name.removeprefix(old)
    return name


def _is_of(result: str, task: str) -> bool:
    return result == task or result.startswith(f"{task}-")


def is_saved_config(content: Mapping[str, Any]) -> bool:
    """Return whether a configuration is one that a run saved: it has every section.

    A user's own file names only what differs from a recipe.
    """
    return set(content) >= _SECTIONS


def translate_fields(content: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """Return nested mappings under the present names; values stay as they are.

    Args:
        content: a configuration as version 0.1.0 wrote it, or a present one.
        kind: the dataclass that it is for.
    """
    return _translated(content, FIELDS.get(kind.__name__, {}))


def _translated(
    content: Mapping[str, Any], table: dict[str, str], *, prefix: str = ""
) -> dict[str, Any]:
    """Rename every key by the last part of its new name; no rename moves a field to another section."""
    result = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        inner = isinstance(value, Mapping)
        new = table.get(name, name).rpartition(".")[2]
        result[new] = _translated(value, table, prefix=f"{name}.") if inner else value
    return result


def translate_results(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a ``results.json`` under the present names.

    Args:
        content: as version 0.1.0 wrote it, or a present one.
    """
    evaluation = FIELDS["EvaluateConfig"]
    result, random_init = dict(content), False
    backbone = content.get("backbone")
    if isinstance(backbone, dict):
        if "random_init" in backbone:  # written by the present version
            return result
        random_init = bool(backbone.get("untrained"))
        result["backbone"] = _translated(backbone, evaluation)
    if isinstance(content.get("run"), dict):
        result["run"] = _translated(content["run"], FIELDS["Config"])
    if not isinstance(content.get("tasks"), dict):
        return result
    result["tasks"] = {}
    for name, outcome in content["tasks"].items():
        if isinstance(outcome, dict):
            outcome = {RESULT_KEYS.get(key, key): value for key, value in outcome.items()}
            if name == "look":  # results name their folder since they may have different ones
                outcome["folder"] = "look-untrained" if random_init else "look"
            if isinstance(outcome.get("config"), dict):
                config = _translated(outcome["config"], evaluation)
                if isinstance(config.get("task"), list):
                    config["task"] = [renamed_task(str(task)) for task in config["task"]]
                outcome["config"] = config
        result["tasks"][renamed_task(name)] = outcome
    return result


def translate_metrics(row: Mapping[str, str]) -> dict[str, str]:
    """Return one row of ``metrics.csv`` under the present column names."""
    return {METRICS_COLUMNS.get(key, key): value for key, value in row.items()}
