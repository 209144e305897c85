"""No test image or label reaches a selection: tasks are run with other test images and labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.evaluation.conftest import NAMES, colours, context_of
from torch import Tensor, nn

from massrl.config.evaluation import (
    DetectConfig,
    EvaluateConfig,
    SegmentConfig,
    SemiConfig,
    SgdConfig,
    TransferConfig,
)
from massrl.data.annotated import ObjectSource, ObjectSubset, Scene
from massrl.data.sources.shapes import ShapesSource
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.features import Features
from massrl.evaluation.multilabel import MultilabelResult, multilabel_probe
from massrl.evaluation.task import Task, TaskResult, build_tasks, classification_result
from massrl.evaluation.tasks.detection import detect
from massrl.evaluation.tasks.linear import C_VALUES, linear_probe
from massrl.evaluation.tasks.segmentation import segment
from massrl.models.backbones import build_backbone
from massrl.registry import TASKS

CONFIG = EvaluateConfig(
    k=5,
    sgd=SgdConfig(epochs=2, batch_size=16, lrs=(30.0, 1.0)),
    semi=SemiConfig(fractions=(0.5,), lrs=(0.001, 0.3), epochs=(2,), batch_size=8),
    transfer=TransferConfig(finetune=True, lrs=(0.001, 0.3), epochs=(2,), batch_size=8),
)
# Tasks whose results have scores of the test images; the others have tests of their own.
SCORING = [task.name for task in build_tasks(TASKS) if {"acc1"} & set(task.headline)]


def results(
    task: Task, *, seed: int, count: int = 40, mislabelled: bool = False
) -> list[TaskResult]:
    """Return a task's results on test images, whose labels may be wrong."""
    test = colours(count, seed=seed)
    test = shuffled(test) if mislabelled else test
    return list(task.run(context_of(colours(80, seed=0), test), CONFIG))


def assert_blind(task: Task) -> None:
    """Check that scores depend on no test label and no other test image, and settings on nothing of them."""
    first = results(task, seed=1)
    mislabelled = results(task, seed=1, mislabelled=True)
    fewer = results(task, seed=1, count=20)
    others = results(task, seed=2)
    assert first
    for one, two, three, four in zip(first, mislabelled, fewer, others, strict=True):
        assert one.scores is not None
        assert two.scores is not None
        assert three.scores is not None
        assert torch.equal(one.scores, two.scores)
        torch.testing.assert_close(one.scores[:20], three.scores, rtol=1e-4, atol=1e-4)
        assert one.settings == two.settings == three.settings == four.settings
        assert one.metrics["acc1"] != two.metrics["acc1"]  # other labels were really used


@pytest.mark.parametrize("name", SCORING)
def test_task_is_blind_to_the_test_set(name: str) -> None:
    """Guards every metric against a selection on the images that it is reported on."""
    (task,) = build_tasks([name])
    assert_blind(task)


def test_every_task_with_scores_is_among_those_tested() -> None:
    """Guards the test above: a new task must not be left out of it."""
    assert SCORING == ["knn", "linear", "linear-sgd", "semi-supervised", "transfer"]


class Leaky(Task):
    """A probe whose regularisation is selected on the test images."""

    title = "leaky"

    def run(self, context: EvaluationContext, config: EvaluateConfig) -> Iterator[TaskResult]:
        """Select by test accuracy."""
        labels = context.test_features.labels
        probes = [
            linear_probe(context.train_features, context.test_features, num_classes=4, c_values=[c])
            for c in C_VALUES
        ]
        right = [float((item.scores.argmax(1) == labels).float().mean()) for item in probes]
        best = probes[int(np.argmax(right))]
        yield classification_result(context, "leaky", best.scores, {"C": best.c})


class Adapted(Task):
    """A probe on features that are standardised by the test images."""

    title = "adapted"

    def run(self, context: EvaluationContext, config: EvaluateConfig) -> Iterator[TaskResult]:
        """Standardise both parts by their own statistics."""
        parts = [
            Features((item.values - item.values.mean(0)) / item.values.std(0), item.labels)
            for item in (context.train_features, context.test_features)
        ]
        probe = linear_probe(*parts, num_classes=4, c_values=[1.0])
        yield classification_result(context, "adapted", probe.scores, {"C": probe.c})


@pytest.mark.parametrize("planted", [Leaky, Adapted])
def test_leak_that_is_planted_is_caught(planted: type[Task]) -> None:
    """Guards the test above: it must be able to fail."""
    with pytest.raises(AssertionError):
        assert_blind(planted())


def shuffled(source: Any) -> Any:
    """Return the same images with each other's labels."""
    source.labels = np.roll(source.labels, 1)
    return source


Probe = Callable[..., MultilabelResult]


def assert_probe_is_blind(probe: Probe) -> None:
    """Check that the regularisation does not depend on test images or labels."""
    generator = np.random.default_rng(0)
    train, test, others = (torch.from_numpy(generator.normal(size=(60, 20))) for _ in range(3))
    noise = generator.normal(size=(60, 4))
    truth, test_truth = (
        ((part[:, :4].numpy() + noise) > 0).astype(np.int64) for part in (train, test)
    )
    probes = [
        probe(train, truth, images, labels, class_names=NAMES)
        for images, labels in ((test, test_truth), (test, 1 - test_truth), (others, test_truth))
    ]
    assert len({item.c for item in probes}) == 1
    assert probes[0].holdout_map == probes[1].holdout_map == probes[2].holdout_map


def test_probe_of_several_classes_is_blind_to_the_test_set() -> None:
    """Guards metrics on VOC."""
    assert_probe_is_blind(multilabel_probe)


def leaky_probe(
    train: Tensor, truth: np.ndarray, test: Tensor, test_truth: np.ndarray, **named: Any
) -> MultilabelResult:
    """Select the regularisation by the metric that is reported."""
    return max(
        (multilabel_probe(train, truth, test, test_truth, c_values=[c], **named) for c in C_VALUES),
        key=lambda result: result.map11,
    )


def test_leak_of_several_classes_is_caught() -> None:
    """Guards the test above."""
    with pytest.raises(AssertionError):
        assert_probe_is_blind(leaky_probe)


class OtherObjects(ShapesSource):
    """The same images, with boxes and classes that are wrong."""

    def scene(self, index: int) -> Scene:
        """Return the objects of the image upside down."""
        scene = super().scene(index)
        assert scene.masks is not None
        side = len(scene.image)
        boxes = scene.boxes.copy()
        boxes[:, [1, 3]] = side - scene.boxes[:, [3, 1]]
        labels = (scene.labels + 1) % len(self.object_names)
        return replace(scene, boxes=boxes, labels=labels, masks=scene.masks[:, ::-1].copy())


def first_prediction(run: Callable[..., Any], config: Any, test: ObjectSource) -> list[np.ndarray]:
    """Return what a detector or segmentation network predicts for the first test image."""
    torch.manual_seed(0)
    network: nn.Module = build_backbone("resnet10-tiny", stem="small", image_side=32)
    context = context_of(ShapesSource(8, 32, objects=2), test, network=network, size=32)
    last = run(context, config, seed=0).shown[0][-1]
    return list(last.values()) if isinstance(last, Mapping) else [last]


DETECT = DetectConfig(epochs=2, batch_size=4, size=32, width=16, regions=8, pictures=1)
SEGMENT = SegmentConfig(epochs=2, batch_size=4, size=32, pictures=1)


@pytest.mark.parametrize(("run", "config"), [(detect, DETECT), (segment, SEGMENT)])
def test_objects_are_predicted_blind_to_the_test_set(run: Callable[..., Any], config: Any) -> None:
    """Guards metrics of objects against the truth and the other images of the test set."""
    if run is detect:
        pytest.importorskip("pycocotools")
    whole = ShapesSource(6, 32, objects=2, split="val")
    predictions = [
        first_prediction(run, config, test)
        for test in (
            ShapesSource(3, 32, objects=2, split="val"),
            OtherObjects(3, 32, objects=2, split="val"),
            ObjectSubset(whole, np.array([0, 4, 5])),
        )
    ]
    for one, mislabelled, others in zip(*predictions, strict=True):
        np.testing.assert_array_equal(one, mislabelled)
        np.testing.assert_array_equal(one, others)
