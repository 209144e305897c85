"""The model card beside an exported backbone: what it is, its training data, metrics, and how to use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from massrl.errors import CheckpointError, counted
from massrl.evaluation.feature_cache import network_fingerprint
from massrl.evaluation.results import (
    headline_keys,
    metric_label,
    metric_text,
    read_results,
    same_weights,
    task_title,
)
from massrl.registry import POLICIES

TaskMetrics = dict[str, tuple[dict[str, str], str]]
"""Title of a task -> its metrics in percent by their names, and the images they were measured on."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """Content of a model card.

    Attributes:
        file: name of the exported file.
        format: its format.
        about: description of the backbone: ``backbone``, ``stem``, ``size``, ``mean``, ``std`` and more.
        num_parameters: of the network.
        program: Python code that loads the file.
        config: configuration of the run, as nested mappings; ``None`` if it does not come from a run.
        data: the training images, as in ``data.json``.
        tasks: metrics of each task.
        software: versions that the metrics were measured with.
    """

    file: str
    format: str
    about: dict[str, Any]
    num_parameters: int
    program: str
    config: dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    tasks: TaskMetrics = field(default_factory=dict)
    software: dict[str, str] = field(default_factory=dict)


def stored_metrics(folder: Path, network: nn.Module) -> tuple[TaskMetrics, dict[str, str]]:
    """Return the metrics of earlier evaluations of these very weights, and the software versions.

    Args:
        folder: where the results of the backbone are, if there are any.
        network: the module of ``load_backbone``.

    Raises:
        CheckpointError: if the results are damaged.
    """
    try:
        return _metrics_of(read_results(folder), network)
    except FileNotFoundError:
        return {}, {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointError(
            f"{folder} has a damaged results.json: massrl evaluate writes it anew"
        ) from None


def _metrics_of(results: dict[str, Any], network: nn.Module) -> tuple[TaskMetrics, dict[str, str]]:
    about: Any = network.about
    if not same_weights(results.get("backbone", {}), network_fingerprint(network), about):
        return {}, {}
    tasks = {
        task_title(name): (
            {
                metric_label(key): metric_text(result, key, "{:.2f}")
                for key in headline_keys(result)
            },
            f"{counted(result['data']['val']['num_images'], 'image')} of {result['data']['val']['name']}",
        )
        for name, result in results.get("tasks", {}).items()
    }
    return tasks, next((item["software"] for item in results["tasks"].values()), {})


def card_text(card: Card) -> str:
    """Return the card as Markdown."""
    about = card.about
    parts = [
        f"# {card.file}",
        f"A {about['backbone']} without its classifier ({card.num_parameters / 1e6:.1f} million parameters), "
        f"from images to {about['num_features']} features. {_origin(card)}",
        "## Use",
        f"```python\n{card.program}\n```",
        _inputs(card),
        *_pretraining(card),
        *_metrics(card),
        "## Licences",
        _licences(card),
    ]
    return "\n\n".join([*parts, "<!-- massrl export -->"]) + "\n"


def _origin(card: Card) -> str:
    source, step = card.about.get("source"), card.about.get("step")
    if source:
        part = card.about.get("part")
        return f"Its weights are from `{source}`{f', part `{part}`' if part else ''}, unchanged."
    if card.config is None or step is None:
        return "Pre-trained without labels by massrl."
    objective = card.config["method"]["name"]
    return f"Pre-trained without labels by massrl: {objective}, {counted(step, 'optimiser step')}."


def _inputs(card: Card) -> str:
    about = card.about
    rows = [
        ("format", card.format),
        ("stem", about["stem"]),
        ("images", f"{about['size']} px, RGB in [0, 1]"),
        ("normalised by", f"mean {_numbers(about['mean'])}, std {_numbers(about['std'])}"),
    ]
    return _table(("", ""), rows)


def _pretraining(card: Card) -> list[str]:
    config, data = card.config, card.data
    if config is None:
        return []
    views, optim = config["views"], config["optim"]
    rows = [
        ("policies", ", ".join(f"`{policy}`" for policy in views["policies"] or ())),
        ("layout", f"{views['layout']}, pairs {config['method']['pairs']}"),
        ("batch", counted(config["data"]["batch_size"], "image")),
        (
            "optimiser",
            f"{optim['name']}, lr {optim['lr']:g} per 256 images, weight decay "
            f"{optim['weight_decay']:g}",
        ),
        ("seed", str(config["train"]["seed"])),
    ]
    if config.get("recipe"):
        rows.insert(0, ("recipe", f"`{config['recipe']}`"))
    if data is not None:
        images = f"{data['name']}, {counted(data['num_images'], 'image')}, fingerprint {data['fingerprint']}"
        rows.insert(0, ("images", f"{images}; labels were not used"))
    return ["## Pre-training", _table(("", ""), rows)]


def _metrics(card: Card) -> list[str]:
    rows = [
        (task, name, value, images)
        for task, (metrics, images) in card.tasks.items()
        for name, value in metrics.items()
    ]
    if not rows:
        return ["## Metrics", "Not evaluated: see `massrl evaluate`."]
    versions = ", ".join(f"{name} {version}" for name, version in card.software.items())
    note = f"Measured with {versions}." if versions else ""
    return ["## Metrics", _table(("task", "metric", "percent", "on"), rows), note]


def _licences(card: Card) -> str:
    policies = card.config["views"]["policies"] or () if card.config is not None else ()
    lines = [f"- {notice}" for notice in _notices(policies)]
    if card.about.get("source"):
        lines.append("- the weights: see their source")
    else:
        lines.append(
            "- massrl, whose code trained the weights: MIT; the images' licences are their owners'"
        )
    return "\n".join(lines)


def _notices(policies: Sequence[str]) -> list[str]:
    """Return the notices of policies that contain data of others, each once."""
    names = dict.fromkeys(policy.partition("(")[0] for policy in policies)
    notices = (getattr(POLICIES.load(name), "notice", "") for name in names if name in POLICIES)
    return [notice for notice in notices if notice]


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.4g}" for value in values)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
