"""No test image or label reaches a choice: every task is asked twice, with other test images and labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from tests.evaluation.conftest import NAMES, colours, subject_of
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
from massrl.data.source import IMAGENET_NORMALIZATION
from massrl.data.sources.shapes import ShapesSource
from massrl.evaluation import tasks as module
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.features import Features
from massrl.evaluation.multilabel import MultilabelResult, multilabel_probe
from massrl.evaluation.task import Task, TaskResult
from massrl.evaluation.tasks import TASKS
from massrl.evaluation.tasks.detection import detect
from massrl.evaluation.tasks.linear import STRENGTHS, linear_probe
from massrl.evaluation.tasks.segmentation import segment
from massrl.evaluation.tasks.transfer import transfer
from massrl.models.backbones import build_backbone

CONFIG = EvaluateConfig(
    k=5,
    sgd=SgdConfig(epochs=2, batch_size=16, lrs=(30.0, 1.0)),
    semi=SemiConfig(fractions=(0.5,), lrs=(0.001, 0.3), epochs=(2,), batch_size=8),
    transfer=TransferConfig(finetune=True, lrs=(0.001, 0.3), epochs=(2,), batch_size=8),
)


def outcomes(
    task: str, *, seed: int, count: int = 40, mislabelled: bool = False
) -> list[TaskResult]:
    """What a task says of test images, whose labels may be wrong."""
    test = colours(count, seed=seed)
    test = shuffled(test) if mislabelled else test
    return list(TASKS[task].run(subject_of(colours(80, seed=0), test), CONFIG))


def assert_blind(task: str) -> None:
    """Scores depend on no test label and no other test image, and choices on nothing of the test set."""
    known = outcomes(task, seed=1)
    mislabelled = outcomes(task, seed=1, mislabelled=True)
    fewer = outcomes(task, seed=1, count=20)
    others = outcomes(task, seed=2)
    for first, second, third, fourth in zip(known, mislabelled, fewer, others, strict=True):
        assert torch.equal(first.scores, second.scores)
        torch.testing.assert_close(first.scores[:20], third.scores, rtol=1e-4, atol=1e-4)
        assert first.chosen == second.chosen == third.chosen == fourth.chosen


@pytest.mark.parametrize("task", TASKS)
def test_task_is_blind_to_the_test_set(task: str) -> None:
    """Guards every figure against a choice that was made by the images it is reported on."""
    assert_blind(task)


def leaky(subject: EvaluationContext, config: EvaluateConfig) -> Iterator[TaskResult]:
    """A probe whose regularisation is chosen on the test images."""
    results = [
        linear_probe(
            subject.train_features, subject.test_features, num_classes=4, strengths=[strength]
        )
        for strength in STRENGTHS
    ]
    right = [
        float((item.scores.argmax(1) == subject.test_features.labels).float().mean())
        for item in results
    ]
    best = results[int(np.argmax(right))]
    yield TaskResult("linear", best.scores, {"strength": best.strength})


def adapted(subject: EvaluationContext, config: EvaluateConfig) -> Iterator[TaskResult]:
    """A probe on features that are standardised by the test images."""
    asked = subject.test_features
    values = (asked.values - asked.values.mean(0)) / asked.values.std(0)
    known = subject.train_features
    own = (known.values - known.values.mean(0)) / known.values.std(0)
    result = linear_probe(
        Features(own, known.labels), Features(values, asked.labels), num_classes=4, strengths=[1.0]
    )
    yield TaskResult("linear", result.scores, {"strength": result.strength})


@pytest.mark.parametrize("planted", [leaky, adapted])
def test_leak_that_is_planted_is_caught(
    monkeypatch: pytest.MonkeyPatch, planted: Callable[..., Iterator[TaskResult]]
) -> None:
    """Guards the test above: it must be able to fail."""
    monkeypatch.setitem(module.TASKS, "linear", Task("linear probe", planted))
    with pytest.raises(AssertionError):
        assert_blind("linear")


CHOICES = ("C", "rate", "epochs", "holdout_accuracy")


def test_transfer_is_blind_to_the_test_set() -> None:
    """Guards other data sets' figures: what is predicted, and every choice of both kinds."""
    known, mislabelled, others = (
        dict(transfer(subject_of(colours(80, seed=0), test), CONFIG, name="colours"))
        for test in (colours(40, seed=1), shuffled(colours(40, seed=1)), colours(40, seed=2))
    )
    assert len(known) == 2
    for name, figures in known.items():
        said, again = (np.sum(one[name]["confusion"], axis=0) for one in (known, mislabelled))
        assert said.tolist() == again.tolist()  # how often each class is predicted
        assert figures["acc1"] != mislabelled[name]["acc1"]
        for key in CHOICES:
            assert figures.get(key) == mislabelled[name].get(key) == others[name].get(key)


def shuffled(source: Any) -> Any:
    """The same images with each other's labels."""
    source.labels = np.roll(source.labels, 1)
    return source


Probe = Callable[..., MultilabelResult]


def assert_probe_is_blind(probe: Probe) -> None:
    """The strength does not depend on test images or labels."""
    generator = np.random.default_rng(0)
    train, test, others = (torch.from_numpy(generator.normal(size=(60, 20))) for _ in range(3))
    noise = generator.normal(size=(60, 4))
    truth, asked = (((part[:, :4].numpy() + noise) > 0).astype(np.int64) for part in (train, test))
    results = [
        probe(train, truth, images, labels, class_names=NAMES)
        for images, labels in ((test, asked), (test, 1 - asked), (others, asked))
    ]
    assert len({result.strength for result in results}) == 1
    assert results[0].holdout_map == results[1].holdout_map == results[2].holdout_map


def test_probe_of_several_classes_is_blind_to_the_test_set() -> None:
    """Guards VOC's figures."""
    assert_probe_is_blind(multilabel_probe)


def leaky_probe(
    train: Tensor, truth: np.ndarray, test: Tensor, asked: np.ndarray, **named: Any
) -> MultilabelResult:
    """Chooses its strength by the figure that it reports."""
    return max(
        (
            multilabel_probe(train, truth, test, asked, strengths=[one], **named)
            for one in STRENGTHS
        ),
        key=lambda result: result.map11,
    )


def test_leak_of_several_classes_is_caught() -> None:
    """Guards the test above."""
    with pytest.raises(AssertionError):
        assert_probe_is_blind(leaky_probe)


class OtherObjects(ShapesSource):
    """The same images, with boxes and classes that are wrong."""

    def scene(self, index: int) -> Scene:
        """Objects of the image that is shown upside down."""
        scene = super().scene(index)
        assert scene.masks is not None
        side = len(scene.image)
        boxes = scene.boxes.copy()
        boxes[:, [1, 3]] = side - scene.boxes[:, [3, 1]]
        labels = (scene.labels + 1) % len(self.object_names)
        return replace(scene, boxes=boxes, labels=labels, masks=scene.masks[:, ::-1].copy())


def first_answer(run: Callable[..., Any], test: ObjectSource) -> list[np.ndarray]:
    """What a detector or segmenter says of the first test image."""
    torch.manual_seed(0)
    network: nn.Module = build_backbone("resnet10-tiny", stem="small", image_side=32)
    result = run(
        network,
        ShapesSource(8, 32, objects=2),
        test,
        normalization=IMAGENET_NORMALIZATION,
        device=torch.device("cpu"),
        seed=0,
        progress=lambda *_: None,
    )
    last = result.shown[0][-1]
    return list(last.values()) if isinstance(last, dict) else [last]


def assert_objects_are_blind(run: Callable[..., Any]) -> None:
    """An answer depends on no truth of the test set, and on no other image of it."""
    others = ObjectSubset(ShapesSource(6, 32, objects=2, split="val"), np.array([0, 4, 5]))
    answers = [
        first_answer(run, test)
        for test in (
            ShapesSource(3, 32, objects=2, split="val"),
            OtherObjects(3, 32, objects=2, split="val"),
            others,
        )
    ]
    for known, mislabelled, elsewhere in zip(*answers, strict=True):
        np.testing.assert_array_equal(known, mislabelled)
        np.testing.assert_array_equal(known, elsewhere)


DETECT = DetectConfig(epochs=2, batch_size=4, size=32, width=16, regions=8, pictures=1)
SEGMENT = SegmentConfig(epochs=2, batch_size=4, size=32, pictures=1)


@pytest.mark.parametrize(
    "run",
    [partial(detect, config=DETECT), partial(segment, config=SEGMENT)],
    ids=["detect", "segment"],
)
def test_objects_are_found_blind_to_the_test_set(run: Callable[..., Any]) -> None:
    """Guards figures of objects against any look at what they are reported on."""
    if run.func is detect:  # type: ignore[attr-defined]
        pytest.importorskip("pycocotools")
    assert_objects_are_blind(run)


@pytest.mark.parametrize("task", [detect, segment])
def test_leak_of_objects_is_caught(task: Callable[..., Any]) -> None:
    """Guards the test above: what learns from the test images must be seen."""
    if task is detect:
        pytest.importorskip("pycocotools")
    config = DETECT if task is detect else SEGMENT

    def leaky_task(network: Any, train: Any, test: Any, **named: Any) -> Any:
        return task(network, test, test, config=config, **named)

    with pytest.raises(AssertionError):
        assert_objects_are_blind(leaky_task)
