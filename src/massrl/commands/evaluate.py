"""``massrl evaluate``: its options, its function, and what the shell prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from massrl.commands.arguments import first
from massrl.config.evaluation import EvaluateConfig
from massrl.config.parser import make

if TYPE_CHECKING:
    from torch import nn


def evaluate(
    backbone: str | Path | nn.Module,
    config: EvaluateConfig | dict[str, Any] | None = None,
    *,
    console: Console | None = None,
) -> dict[str, Any]:
    """Judge a backbone on labelled images.

    Args:
        backbone: whatever ``load_backbone`` takes, such as a run folder, a checkpoint of another project
            or ``timm:resnet50``; or what it gave.
        config: tasks, data and settings; what is left out of the data is as in the run.
        console: where progress is shown; the terminal by default.

    Returns:
        The content of ``results.json``: ``backbone``, ``run`` and ``tasks``, which has figures for each
        task with how they came about; those of earlier evaluations of the same weights among them. It
        is written into the run folder, or one beside the file, or ``config.out`` where it is set.

    Raises:
        MassrlError: if something the user gave cannot be used.
    """
    from massrl.evaluation.run import evaluate_backbone

    wanted = config if isinstance(config, EvaluateConfig) else make(EvaluateConfig, config or {})
    return evaluate_backbone(backbone, wanted, console=console or Console(stderr=True))


def run_evaluate(words: list[str]) -> int:
    """Run ``massrl evaluate`` and return the exit code."""
    backbone = first(words, "the run folder, file or name to judge")
    from massrl.config.evaluation import EvaluateConfig
    from massrl.config.parser import make

    config = make(EvaluateConfig, arguments=words)
    from massrl.evaluation.results import METRICS, headline_metrics, results_path

    tasks = evaluate(backbone, config)["tasks"]
    width = max(map(len, tasks))
    for name, outcome in tasks.items():
        figures = [
            f"{METRICS[key]} {value:6.2f} %" for key, value in headline_metrics(outcome).items()
        ]
        print("   ".join([f"{name:<{width}}", *figures, f"{outcome['num_images']:,} images"]))
    path = results_path(backbone, config)
    print(path)
    print(path.with_name("report.html"))
    return 0
