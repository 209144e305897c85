"""What ``results.json`` holds: names of metrics and tasks, and merging with earlier evaluations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from massrl.config.evaluation import EvaluateConfig
from massrl.config.renamed import translate_results
from massrl.evaluation.context import EvaluatedBackbone
from massrl.evaluation.object_tasks import OBJECT_TASKS
from massrl.evaluation.task import LOOK, TRANSFER, TUNED
from massrl.evaluation.tasks import TASKS
from massrl.weights.libraries import is_library_name


def _earlier(path: Path, judged: EvaluatedBackbone) -> dict[str, Any]:
    """Figures of the same weights that were there already; those of others would be lies."""
    try:
        before = read_results(path.parent, random_init=path.name == results_name(random_init=True))
        same = same_weights(before["backbone"], judged.fingerprint, judged.about)
        return dict(before["tasks"]) if same else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def results_name(*, random_init: bool) -> str:
    """Return the name of the file with the results of the trained weights or of random ones."""
    return "results-random-init.json" if random_init else "results.json"


def read_results(folder: Path, *, random_init: bool = False) -> dict[str, Any]:
    """Return the results in a folder under their present names, whichever version wrote them.

    Raises:
        OSError: if there are none.
        ValueError: if the file is no JSON.
    """
    path = folder / results_name(random_init=random_init)
    if random_init and not path.is_file():
        path = folder / "results-untrained.json"  # its name in version 0.1.0
    return translate_results(json.loads(path.read_text(encoding="utf-8")))


def results_path(backbone: str | Path, config: EvaluateConfig) -> Path:
    """Where an evaluation's figures go.

    Into ``config.out``, else into the run folder, or one beside the file, or one of the name's own.
    """
    name = results_name(random_init=config.random_init)
    if config.out:
        return Path(config.out).expanduser() / name
    path = Path(str(backbone))
    if is_library_name(str(backbone)):
        return Path("runs") / str(backbone).replace(":", "-") / name
    return (path if path.is_dir() else path.with_name(f"{path.stem}-results")) / name


# What figures are called, the one that a task is known by before the others.
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


def headline_metrics(outcome: dict[str, Any]) -> dict[str, float]:
    """The figures of an outcome in percent, that which it is known by first."""
    order = sorted(METRICS, key=lambda key: key != outcome.get("metric"))
    return {key: outcome[key] for key in order if isinstance(outcome.get(key), float | int)}


def task_title(outcome: str) -> str:
    """What a person calls an outcome: ``k-NN``, ``fine-tuned on 10 % of the labels``."""
    if outcome in TASKS:
        return TASKS[outcome].title
    if outcome in OBJECT_TASKS:
        return OBJECT_TASKS[outcome]
    if outcome == LOOK:
        return "what moves the features"
    if outcome.startswith(f"{TRANSFER}-"):
        name = outcome.removeprefix(f"{TRANSFER}-")
        return f"{name.removesuffix(TUNED)}, {'fine-tuned' if name.endswith(TUNED) else 'linear'}"
    task = max((name for name in TASKS if outcome.startswith(f"{name}-")), key=len, default="")
    which = outcome.removeprefix(f"{task}-")
    if not task:
        return outcome
    is_share = which.replace(".", "").isdigit()
    return f"{TASKS[task].title} {f'{which} % of the labels' if is_share else f'the list {which}'}"


def same_weights(known: Mapping[str, Any], fingerprint: str, about: Mapping[str, Any]) -> bool:
    """Whether figures of an earlier ``results.json`` are of these weights on images prepared like this.

    Args:
        known: its ``backbone``.
        fingerprint: of the weights.
        about: how images are prepared, as a backbone's file says it.
    """
    alike = all(
        known.get(key) == json.loads(json.dumps(about[key])) for key in ("size", "mean", "std")
    )
    return alike and known.get("fingerprint") == fingerprint
