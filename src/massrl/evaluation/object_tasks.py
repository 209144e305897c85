"""Judges a backbone by the objects in images: what it finds, box by box and pixel by pixel."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from massrl.config.evaluation import EvaluateConfig
from massrl.data.annotated import ObjectSource
from massrl.data.source import Normalization
from massrl.evaluation.overlays import detection_sheet, segmentation_sheet
from massrl.evaluation.tasks.detection import detect
from massrl.evaluation.tasks.segmentation import segment

OBJECT_TASKS = {"detect": "object detection", "segment": "semantic segmentation"}
_LARGE = {"detect": 800, "segment": 512}  # pixels, the field's
_SMALL_IMAGE = 200  # short side below which images are doubled, rather than made as large as that


@dataclass(frozen=True, kw_only=True)
class ObjectTaskResult:
    """What a task came to.

    Attributes:
        figures: percent and settings, as ``results.json`` has them.
        picture: first images with truth and answer, uint8 RGB; ``None`` where none were asked for.
    """

    figures: dict[str, Any]
    picture: np.ndarray | None


def run_object_task(
    task: str,
    network: nn.Module,
    train: ObjectSource,
    test: ObjectSource,
    config: EvaluateConfig,
    *,
    normalization: Normalization,
    device: torch.device,
    progress: Callable[[str, int, int], None],
) -> ObjectTaskResult:
    """Carry out one of ``OBJECT_TASKS``; see ``detect`` and ``segment``."""
    begin = time.perf_counter()
    common: dict[str, Any] = {
        "normalization": normalization,
        "device": device,
        "seed": config.seed,
        "progress": progress,
    }
    if task == "detect":
        small = train.typical_side < _SMALL_IMAGE
        chosen = replace(
            config.detect,
            size=config.detect.size or fitting_side(train, task),
            width=config.detect.width or (64 if small else 256),
            regions=config.detect.regions or (64 if small else 512),
        )
        found = detect(network, train, test, chosen, **common)
        figures: dict[str, Any] = {
            **found.figures,
            **{name: getattr(chosen, name) for name in ("head", "size", "width", "regions")},
        }
        picture = _sheet(found.shown, lambda shown: detection_sheet(shown, train.object_names))
    else:
        settings = replace(config.segment, size=config.segment.size or fitting_side(train, task))
        said = segment(network, train, test, settings, **common)
        figures = {
            **said.figures,
            "per_class": said.per_class,
            "size": settings.size,
            "head": settings.head,
        }
        picture = _sheet(said.shown, segmentation_sheet)
    seconds = round(time.perf_counter() - begin, 2)
    return ObjectTaskResult(
        figures={**figures, "num_images": len(test), "seconds": seconds}, picture=picture
    )


def fitting_side(source: ObjectSource, task: str) -> int:
    """Side that images are resized to unless it is said: the field's, less for small images."""
    side = source.typical_side
    return max(64, 2 * side) if side < _SMALL_IMAGE else _LARGE[task]


def _sheet(shown: Sequence[Any], draw: Callable[[Any], np.ndarray]) -> np.ndarray | None:
    return draw(shown) if shown else None
