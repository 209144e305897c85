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
    """COCO's average precision, computed by torchmetrics.

    Args:
        masks: whether masks are evaluated beside boxes.

    Raises:
        ConfigError: if pycocotools is not installed.
    """

    def __init__(self, *, masks: bool) -> None:
        try:
            import pycocotools  # noqa: F401
        except ImportError:
            raise ConfigError(
                "object detection needs pycocotools: pip install 'massrl[detect]'"
            ) from None
        from torchmetrics.detection import MeanAveragePrecision

        self._masks = masks
        kinds: Any = ("bbox", "segm") if masks else ("bbox",)
        self._metric = MeanAveragePrecision(iou_type=kinds)

    def add(self, detections: dict[str, Tensor], scene: Scene) -> None:
        """Add the detections of one image: ``boxes``, ``labels`` from 1, ``scores``, ``masks``.

        As in COCO, detections within a crowd count neither as right nor as wrong; as in VOC, so do those
        that overlap a difficult object by half or more.
        """
        found = {key: detections[key].cpu() for key in ("boxes", "labels", "scores")}
        if self._masks:
            found["masks"] = detections["masks"].cpu()[:, 0] > 0.5
        if scene.difficult is not None and scene.difficult.any():
            found, scene = _without_difficult(found, scene)
        truth = {
            "boxes": torch.from_numpy(scene.boxes),
            "labels": torch.from_numpy(scene.labels + 1),
            "iscrowd": torch.from_numpy(scene.crowd.astype(np.int64)),
        }
        if self._masks:
            assert scene.masks is not None
            truth["masks"] = torch.from_numpy(scene.masks)
        self._metric.update([found], [truth])

    def metrics(self) -> dict[str, float | None]:
        """Return ``ap``, ``ap50`` and ``ap75`` in percent, and ``mask_ap`` … where there are masks.

        Returns:
            ``None`` for each of them where no image has an object, of which torchmetrics says -1.
        """
        values = self._metric.compute()
        kinds = [("bbox_", ""), ("segm_", "mask_")] if self._masks else [("", "")]
        return {
            f"{prefix}{name}": _percent(float(values[f"{kind}{key}"]))
            for kind, prefix in kinds
            for name, key in (("ap", "map"), ("ap50", "map_50"), ("ap75", "map_75"))
        }


def _percent(value: float) -> float | None:
    return round(100 * value, 4) if value >= 0 else None


def _without_difficult(found: dict[str, Tensor], scene: Scene) -> tuple[dict[str, Tensor], Scene]:
    """Remove difficult objects, and the detections that overlap them.

    A detection belongs to the object of its class that it overlaps most, as in VOC's own measure.
    """
    from torchvision.ops import box_iou

    assert scene.difficult is not None
    overlap = box_iou(found["boxes"], torch.from_numpy(scene.boxes))
    other_class = found["labels"][:, None] != torch.from_numpy(scene.labels + 1)
    best = overlap.masked_fill(other_class, -1.0).max(dim=1)
    removed = (best.values >= 0.5) & torch.from_numpy(scene.difficult)[best.indices]
    easy = ~scene.difficult
    remaining = replace(
        scene,
        boxes=scene.boxes[easy],
        labels=scene.labels[easy],
        masks=None if scene.masks is None else scene.masks[easy],
        crowd=scene.crowd[easy],
        difficult=None,
    )
    return {key: item[~removed] for key, item in found.items()}, remaining
