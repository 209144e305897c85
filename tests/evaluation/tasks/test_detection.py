"""Object detection: training examples, the schedule, and the way from objects to metrics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.evaluation.conftest import context_of

from massrl.config.evaluation import DetectConfig, EvaluateConfig
from massrl.data.annotated import ObjectSource, ObjectSubset
from massrl.data.sources.shapes import ShapesSource
from massrl.errors import ConfigError, DataError
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.task import build_tasks
from massrl.evaluation.tasks.detection import (
    check_objects,
    detect,
    example,
    fit_to_images,
    stepped_factor,
)
from massrl.models.backbones import build_backbone

SMALL = DetectConfig(epochs=1, batch_size=4, size=64, width=16, regions=16, pictures=2)
CPU = torch.device("cpu")


def objects(train: ObjectSource, test: ObjectSource) -> EvaluationContext:
    torch.manual_seed(0)
    network = build_backbone("resnet10-tiny", stem="small", image_side=32)
    return context_of(train, test, network=network, size=32)


def test_boxes_and_masks_are_flipped_with_the_image() -> None:
    """Guards half of all training images against boxes on the other side."""
    source = ShapesSource(4, 32, objects=3)
    plain, target = example(source.scene(1), flipped=False, device=CPU)
    image, flipped = example(source.scene(1), flipped=True, device=CPU)
    assert torch.equal(image, plain.flip(2))
    assert torch.equal(flipped["masks"], target["masks"].flip(2))
    for mask, box in zip(flipped["masks"], flipped["boxes"], strict=True):
        rows, columns = mask.nonzero(as_tuple=True)
        tight = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert box.tolist() == [int(side) for side in tight]


def test_crowds_and_difficult_objects_are_no_training_examples() -> None:
    """Guards training against objects that are not evaluated."""
    scene = ShapesSource(4, 32, objects=3).scene(1)
    marks = np.array([True, False, False])
    count = len(scene.boxes)
    for changed in (replace(scene, crowd=marks[:count]), replace(scene, difficult=marks[:count])):
        _, target = example(changed, flipped=False, device=CPU)
        assert target["labels"].tolist() == (scene.labels[1:] + 1).tolist()
        assert len(target["masks"]) == len(target["boxes"]) == count - 1


def test_learning_rate_warms_up_and_drops_twice() -> None:
    """Guards the published schedule: a tenth at two thirds and at eight ninths."""
    factors = [stepped_factor(step, total_steps=900) for step in range(900)]
    assert factors[0] == pytest.approx(1 / 90)
    assert factors[89:600] == [1.0] * 511
    assert factors[600:800] == pytest.approx([0.1] * 200)
    assert factors[800:] == pytest.approx([0.01] * 100)


@pytest.mark.parametrize("head", ["fpn", "c4"])
def test_backbone_is_unchanged_by_a_detector(head: str) -> None:
    """Guards the network against being trained in place, since other tasks use it."""
    pytest.importorskip("pycocotools")
    context = objects(ShapesSource(4, 32, objects=2), ShapesSource(4, 32, objects=2))
    before = {name: item.clone() for name, item in context.network.state_dict().items()}
    config = DetectConfig(head=head, epochs=0.5, batch_size=2, size=32, width=16, regions=8)
    result = detect(context, config, seed=0)
    assert set(result.metrics) == {"ap", "ap50", "ap75", "mask_ap", "mask_ap50", "mask_ap75"}
    after = context.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_detector_learns_boxes_and_masks() -> None:
    """Guards the way from objects to metrics: eight scenes must be memorised within seconds."""
    pytest.importorskip("pycocotools")
    source = ShapesSource(8, 32, objects=2)
    config = replace(SMALL, epochs=40, lr=0.08, size=32, pictures=0)
    result = detect(objects(source, source), config, seed=0)
    assert result.metrics["ap50"] > 40  # below 20 after a step
    assert result.metrics["mask_ap50"] > 15  # 0 after a step


def test_detector_is_the_same_for_a_seed() -> None:
    """Guards metrics that nobody could reproduce."""
    pytest.importorskip("pycocotools")
    source, other = ShapesSource(8, 32, objects=2), ShapesSource(4, 32, objects=2, split="val")
    context = objects(source, other)
    results = [detect(context, SMALL, seed=seed) for seed in (0, 0, 1)]
    assert {"ap", "mask_ap", "mask_ap75"} <= set(results[0].metrics)
    assert [len(result.shown) for result in results] == [2, 2, 2]
    first, again, third = (result.shown[0][1]["boxes"] for result in results)
    np.testing.assert_array_equal(first, again)
    assert first.shape != third.shape or not np.allclose(first, third)


@pytest.mark.parametrize(("side", "wanted"), [(32, (64, 64, 64)), (240, (800, 256, 512))])
def test_sizes_that_are_not_set_fit_the_images(side: int, wanted: tuple[int, int, int]) -> None:
    """Guards small images against an hour on a detector for large ones."""
    config = fit_to_images(DetectConfig(), ShapesSource(1, side))
    assert (config.size, config.width, config.regions) == wanted
    own = DetectConfig(size=100, width=7, regions=9)
    assert fit_to_images(own, ShapesSource(1, side)) == own


def test_task_stores_settings_in_use_and_a_picture(tmp_path: Path) -> None:
    """Guards ``results.json``, and pictures against being written where nothing is."""
    pytest.importorskip("pycocotools")
    source = ShapesSource(4, 32, objects=2)
    context = objects(source, source)
    (task,) = build_tasks(["detect"])
    config = EvaluateConfig(detect=replace(SMALL, size=None, width=8))
    (result,) = task.run(replace(context, folder=tmp_path, suffix="-x"), config)
    assert result.settings == {
        "head": "fpn",
        "size": 64,
        "width": 8,
        "regions": 16,
        "picture": "detect-x.png",
    }
    assert (tmp_path / "detect-x.png").is_file()
    (result,) = task.run(context, config)
    assert "picture" not in result.settings


def test_backbone_without_stages_is_refused_before_the_run() -> None:
    """Guards hours of other tasks before an error that could be seen at the start."""
    (task,) = build_tasks(["detect"])
    with pytest.raises(ConfigError, match="no stages"):
        task.check(torch.nn.Linear(2, 2))


class Counted(ShapesSource):
    """Scenes that tell how many of their objects count."""

    def __init__(self, *counts: int) -> None:
        super().__init__(len(counts), 32)
        self.counts = counts

    def object_counts(self) -> np.ndarray:
        """Return the counts given."""
        return np.array(self.counts)


def test_images_without_objects_are_refused_before_training() -> None:
    """Guards an hour of training for a figure of nothing; AP was 0.00, torchmetrics says -1."""
    pytest.importorskip("pycocotools")
    some, none = Counted(0, 1), Counted(0, 0)
    with pytest.raises(
        DataError, match=r"no objects to train on in its 2 images.*\(--data\.train\)"
    ):
        detect(objects(none, some), SMALL, seed=0)
    with pytest.raises(DataError, match=r"no objects to find in its 2 images.*\(--data\.val\)"):
        detect(objects(some, none), SMALL, seed=0)
    part = ObjectSubset(some, [0])
    with pytest.raises(DataError, match="no objects to find in its 1 image"):
        check_objects(part, "to find", flag="--x")
    check_objects(ShapesSource(2, 32), "to find", flag="--x")
