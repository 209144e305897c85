"""Average precision against cases placed by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torchmetrics.detection import MeanAveragePrecision

from massrl.data.annotated import Scene
from massrl.errors import ConfigError
from massrl.evaluation.average_precision import AveragePrecision

Box = tuple[float, float, float, float]


def scene(*boxes: Box, crowd: tuple[bool, ...] = ()) -> Scene:
    """Return objects of one class in an image of 100 × 100."""
    return Scene(
        image=np.zeros((100, 100, 3), np.uint8),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.zeros(len(boxes), np.int64),
        masks=None,
        crowd=np.array(crowd or [False] * len(boxes), bool),
    )


def found(*scored: tuple[Box, float]) -> dict[str, torch.Tensor]:
    """Return detections of that class."""
    return {
        "boxes": torch.tensor([box for box, _ in scored]).reshape(-1, 4).float(),
        "labels": torch.ones(len(scored), dtype=torch.int64),
        "scores": torch.tensor([score for _, score in scored]),
    }


A, B = (10.0, 10.0, 30.0, 30.0), (50.0, 50.0, 90.0, 90.0)
# Of A's twenty columns seventeen and a half: an intersection over union of 0.875.
NEAR_A = (10.0, 10.0, 27.5, 30.0)


@pytest.mark.parametrize(
    ("detections", "truth", "ap50", "ap75", "ap"),
    [
        (found((A, 0.9), (B, 0.8)), scene(A, B), 100.0, 100.0, 100.0),
        # One of two is found: precision 1 up to a recall of a half, at 51 of 101 recalls.
        (found((A, 0.9)), scene(A, B), 100 * 51 / 101, 100 * 51 / 101, 100 * 51 / 101),
        # 0.875 passes the thresholds 0.5 … 0.85: eight of ten.
        (found((NEAR_A, 0.9)), scene(A), 100.0, 100.0, 80.0),
        # A false detection before the true one: precision a half at every recall.
        (found((B, 0.9), (A, 0.8)), scene(A), 50.0, 50.0, 50.0),
        # A crowd is neither missed when it is not found nor wrong when it is.
        (found((A, 0.9), (B, 0.95)), scene(A, B, crowd=(False, True)), 100.0, 100.0, 100.0),
        (found(), scene(A), 0.0, 0.0, 0.0),
    ],
)
def test_precision_of_cases_placed_by_hand(
    detections: dict[str, torch.Tensor], truth: Scene, ap50: float, ap75: float, ap: float
) -> None:
    """Guards AP, AP50 and AP75 against being swapped, scaled or counted over the wrong objects."""
    pytest.importorskip("pycocotools")
    precision = AveragePrecision(masks=False)
    precision.add(detections, truth)
    assert precision.metrics() == pytest.approx({"ap": ap, "ap50": ap50, "ap75": ap75}, abs=0.01)


@pytest.mark.parametrize(
    ("detections", "truths"),
    [
        (found(), [scene()]),
        (found((A, 0.9)), [scene(), scene()]),
        (found((A, 0.9)), [scene(A, crowd=(True,))]),
        (found((A, 0.9)), [replace(scene(A), difficult=np.array([True]))]),
    ],
)
def test_precision_is_none_where_there_is_nothing_to_find(
    detections: dict[str, torch.Tensor], truths: list[Scene]
) -> None:
    """Guards AP 0.00, as of a network that finds nothing; torchmetrics says -1.

    To the kind belong images without objects, with crowds alone, and with difficult objects alone.
    """
    pytest.importorskip("pycocotools")
    precision = AveragePrecision(masks=False)
    for truth in truths:
        precision.add(detections, truth)
    assert precision.metrics() == {"ap": None, "ap50": None, "ap75": None}
    reference = MeanAveragePrecision()
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    reference.update([detections], [nothing])
    assert float(reference.compute()["map"]) == -1


def test_class_without_objects_does_not_count() -> None:
    """Guards the mean against zeros of absent classes, and false detections of them; as torchmetrics."""
    pytest.importorskip("pycocotools")
    detections = found((A, 0.9), (B, 0.8))
    detections["labels"] = torch.tensor([1, 3])
    precision = AveragePrecision(masks=False)
    precision.add(detections, scene(A))
    reference = MeanAveragePrecision()
    truth = {"boxes": torch.tensor([A]), "labels": torch.tensor([1])}
    reference.update([detections], [truth])
    assert precision.metrics()["ap"] == pytest.approx(100 * float(reference.compute()["map"]))
    assert precision.metrics()["ap"] == pytest.approx(100)


def test_difficult_object_removes_what_overlaps_it_by_half_and_nothing_else() -> None:
    """Guards VOC's rule against COCO's, by which a large difficult box would hide every false one."""
    pytest.importorskip("pycocotools")
    large = (0.0, 0.0, 60.0, 60.0)
    truth = replace(scene(large, B), difficult=np.array([True, False]))
    inside = found((A, 0.95), (B, 0.9))  # a false detection within the difficult object
    upon = found(((0.0, 0.0, 55.0, 60.0), 0.95), (B, 0.9))
    for detections, wanted in ((inside, 50.0), (upon, 100.0)):
        precision = AveragePrecision(masks=False)
        precision.add(detections, truth)
        assert precision.metrics()["ap50"] == pytest.approx(wanted, abs=0.01)


def test_masks_are_measured_beside_boxes() -> None:
    """Guards mask AP against being that of boxes: a box is right, its mask covers a quarter."""
    pytest.importorskip("pycocotools")
    mask = np.zeros((1, 100, 100), bool)
    mask[0, 10:30, 10:30] = True
    quarter = torch.zeros(1, 1, 100, 100)
    quarter[0, 0, 10:20, 10:20] = 0.9
    precision = AveragePrecision(masks=True)
    precision.add({**found((A, 0.9)), "masks": quarter}, replace(scene(A), masks=mask))
    assert precision.metrics()["ap50"] == 100.0
    assert precision.metrics()["mask_ap50"] == 0.0


def test_difficult_object_is_removed_with_its_mask() -> None:
    """Guards masks against being paired with the object before."""
    pytest.importorskip("pycocotools")
    masks = np.zeros((2, 100, 100), bool)
    masks[0, 10:30, 10:30], masks[1, 50:90, 50:90] = True, True
    truth = replace(scene(A, B), masks=masks, difficult=np.array([True, False]))
    predicted = torch.from_numpy(masks[:, None].astype(np.float32))
    precision = AveragePrecision(masks=True)
    precision.add({**found((A, 0.9), (B, 0.8)), "masks": predicted}, truth)
    assert precision.metrics()["mask_ap"] == pytest.approx(100.0)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the extra that detection needs."""
    monkeypatch.setitem(__import__("sys").modules, "pycocotools", None)
    with pytest.raises(ConfigError, match=r"massrl\[detect\]"):
        AveragePrecision(masks=False)
