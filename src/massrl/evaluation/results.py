"""What ``results.json`` holds: names of metrics and results, reading it, and merging with earlier results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from massrl.config.renamed import translate_results
from massrl.evaluation.task import task_of

# Labels of metrics; of those that a result has, the first is its headline unless it says otherwise.
METRICS = {
    "acc1": "Acc@1",
    "acc5": "Acc@5",
    "mean_per_class": "mean per class",
    "map11": "11-point mAP",
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "mask_ap": "mask AP",
    "mask_ap50": "mask AP50",
    "mask_ap75": "mask AP75",
    "miou": "mean IoU",
    "pixel_accuracy": "pixel accuracy",
}


DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""What reading results may raise that are missing, or not as massrl writes them."""

UNDEFINED = "nothing to find"
"""Said in place of a metric that is null, since no test image has what it is about."""
_OF_IMAGES = ("acc1", "acc5", "mean_per_class")  # null where they do not apply, as of few classes


def metric_label(key: str) -> str:
    """Return the name for people of a metric; of one that is not known, its key in words."""
    return METRICS.get(key, key.replace("_", " "))


def headline_metrics(result: Mapping[str, Any]) -> dict[str, float]:
    """Return a result's metrics in percent, the headline metric first.

    Args:
        result: of one task, as ``results.json`` stores it.
    """
    return {key: result[key] for key in _order(result) if isinstance(result.get(key), float | int)}


def headline_keys(result: Mapping[str, Any]) -> list[str]:
    """Return the keys of ``headline_metrics``, and those of metrics that are null."""
    values = headline_metrics(result)
    return [key for key in _order(result) if key in values or _is_undefined(result, key)]


def _order(result: Mapping[str, Any]) -> list[str]:
    keys = dict.fromkeys([result.get("metric"), *result.get("headline", ()), *METRICS])
    return [key for key in keys if key is not None]


def _is_undefined(result: Mapping[str, Any], key: str) -> bool:
    return key not in _OF_IMAGES and key in result and result[key] is None


def metric_text(result: Mapping[str, Any], key: str | None, number: str) -> str:
    """Return a metric as text, ``UNDEFINED`` where it is null, and a dash where the result lacks it.

    Args:
        result: of one task, as ``results.json`` stores it.
        key: of the metric; None for the headline metric.
        number: how a number is written, such as ``"{:.1f} %"``.
    """
    values = headline_metrics(result)
    key = key or next(iter(headline_keys(result)), "")
    if key in values:
        return number.format(values[key])
    return UNDEFINED if _is_undefined(result, key) else "–"


def metric_keys(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the keys of all headline metrics of some results, each once, well-known ones in their order."""
    found = dict.fromkeys(key for result in results for key in headline_keys(result))
    known = [key for key in METRICS if key in found]
    return [*known, *(key for key in found if key not in METRICS)]


def task_title(result: str) -> str:
    """Return the name for people of a result: ``k-NN``, ``fine-tuned on 10 % of the labels``.

    Args:
        result: its name, which is returned for a task that is not installed.
    """
    found = task_of(result)
    if found is None:
        return result
    name, task = found
    return task.result_title(result.removeprefix(name).removeprefix("-"))


def results_name(*, random_init: bool) -> str:
    """Return the name of the file with the results of the trained weights, or of random ones."""
    return "results-random-init.json" if random_init else "results.json"


def read_results(folder: Path, *, random_init: bool = False) -> dict[str, Any]:
    """Return the results in a folder under their present names, whichever version wrote them.

    Raises:
        OSError: if there are none.
        ValueError: if the file is no JSON, or no mapping.
    """
    path = folder / results_name(random_init=random_init)
    if random_init and not path.is_file():
        path = folder / "results-untrained.json"  # its name in version 0.1.0
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no results")
    return translate_results(content)


def earlier_results(folder: Path, backbone: Mapping[str, Any]) -> dict[str, Any]:
    """Return the results in a folder by name if they are of the same weights, else nothing.

    Args:
        folder: where ``results.json`` is, if there is one.
        backbone: as ``results.json`` describes it.
    """
    try:
        before = read_results(folder, random_init=backbone["random_init"])
        same = same_weights(before["backbone"], backbone["fingerprint"], backbone)
        return dict(before["tasks"]) if same else {}
    except DAMAGED:
        return {}


def same_weights(backbone: Mapping[str, Any], fingerprint: str, about: Mapping[str, Any]) -> bool:
    """Return whether earlier results are of these weights, on images that are prepared the same way.

    Args:
        backbone: of the earlier ``results.json``.
        fingerprint: of the weights.
        about: how images are prepared for them, as a backbone's file stores it.
    """
    prepared_alike = all(
        backbone.get(key) == json.loads(json.dumps(about[key])) for key in ("size", "mean", "std")
    )
    return prepared_alike and backbone.get("fingerprint") == fingerprint
