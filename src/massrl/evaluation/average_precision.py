"""COCO's average precision of boxes and masks, with the difficult objects of Pascal VOC."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from massrl.data.annotated import Scene
from massrl.errors import ConfigError


class AveragePrecision:
    """COCO's average precision, by torchmetrics.

    Args:
        masks: whether masks are compared beside boxes.

    Raises:
        ConfigError: if the package that counts is missing.
    """

    def __init__(self, *, masks: bool) -> None:
        try:
            import pycocotools  # noqa: F401
        except ImportError:
            raise ConfigError(
                "--task detect needs pycocotools: pip install 'massrl[detect]'"
            ) from None
        from torchmetrics.detection import MeanAveragePrecision

        self._masks = masks
        kinds: Any = ("bbox", "segm") if masks else ("bbox",)
        self._metric = MeanAveragePrecision(iou_type=kinds)

    def add(self, found: dict[str, Tensor], scene: Scene) -> None:
        """Count what was found in an image: ``boxes``, ``labels`` from 1, ``scores``, ``masks``.

        A crowd takes in whatever lies within it, as COCO says; a difficult object takes what overlaps
        it by half or more, as VOC says, and that is left out with it.
        """
        said = {key: found[key].cpu() for key in ("boxes", "labels", "scores")}
        if scene.difficult is not None and scene.difficult.any():
            said, scene = _without_difficult(said, scene)
        truth = {
            "boxes": torch.from_numpy(scene.boxes),
            "labels": torch.from_numpy(scene.labels + 1),
            "iscrowd": torch.from_numpy(scene.crowd.astype(np.int64)),
        }
        if self._masks:
            assert scene.masks is not None
            said["masks"] = found["masks"].cpu()[:, 0] > 0.5
            truth["masks"] = torch.from_numpy(scene.masks)
        self._metric.update([said], [truth])

    def figures(self) -> dict[str, float]:
        """``ap``, ``ap50``, ``ap75`` in percent, and the same of masks."""
        values = self._metric.compute()
        kinds = [("bbox_", ""), ("segm_", "mask_")] if self._masks else [("", "")]
        return {
            f"{prefix}{name}": round(100 * max(0.0, float(values[f"{kind}{key}"])), 4)
            for kind, prefix in kinds
            for name, key in (("ap", "map"), ("ap50", "map_50"), ("ap75", "map_75"))
        }


def _without_difficult(said: dict[str, Tensor], scene: Scene) -> tuple[dict[str, Tensor], Scene]:
    """What was found and what is asked for, without difficult objects and what was found of them.

    An answer goes with the object of its class that it overlaps most, as in VOC's own measure.
    """
    from torchvision.ops import box_iou

    assert scene.difficult is not None
    overlap = box_iou(said["boxes"], torch.from_numpy(scene.boxes))
    other_class = said["labels"][:, None] != torch.from_numpy(scene.labels + 1)
    best = overlap.masked_fill(other_class, -1.0).max(dim=1)
    goes = (best.values >= 0.5) & torch.from_numpy(scene.difficult)[best.indices]
    asked = ~scene.difficult
    kept = replace(
        scene,
        boxes=scene.boxes[asked],
        labels=scene.labels[asked],
        crowd=scene.crowd[asked],
        difficult=None,
    )
    return {key: item[~goes] for key, item in said.items()}, kept
