"""Stored results of a backbone, of random weights and of those that training started from, for its card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from massrl.errors import CheckpointError, counted
from massrl.evaluation.results import (
    headline_keys,
    metric_label,
    metric_text,
    read_results,
    results_name,
    task_title,
)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Stored results of the exported weights, of random ones, or of those that training started from.

    Attributes:
        weights: which of these.
        tasks: title of a task -> its metrics in percent by their names, and the images they are of.
        software: versions that they were measured with.
    """

    weights: str
    tasks: dict[str, tuple[dict[str, str], str]] = field(default_factory=dict)
    software: dict[str, str] = field(default_factory=dict)


def stored_metrics(
    folder: Path,
    weights: str,
    *,
    random_init: bool = False,
    of_same: Callable[[Mapping[str, Any]], bool],
) -> Measured:
    """Return the metrics of earlier evaluations of some weights, without tasks where there are none.

    Args:
        folder: where the results are, if there are any.
        weights: which weights they are of, for the card.
        random_init: whether to read those of random weights.
        of_same: whether results are of these weights, given the backbone as ``results.json`` describes it.

    Raises:
        CheckpointError: if the results are damaged.
    """
    try:
        results = read_results(folder, random_init=random_init)
        return (
            _metrics_of(results, weights)
            if of_same(results.get("backbone", {}))
            else Measured(weights=weights)
        )
    except (FileNotFoundError, NotADirectoryError):
        return Measured(weights=weights)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointError(
            f"{folder} has a damaged {results_name(random_init=random_init)}: massrl evaluate writes it anew"
        ) from None


def _metrics_of(results: dict[str, Any], weights: str) -> Measured:
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
    software: dict[str, str] = next(
        (item["software"] for item in results.get("tasks", {}).values()), {}
    )
    return Measured(weights=weights, tasks=tasks, software=software)
