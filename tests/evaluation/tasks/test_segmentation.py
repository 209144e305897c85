"""Semantic segmentation: metrics counted by hand, heads, and the way from class maps to metrics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, jaccard_score
from tests.evaluation.conftest import context_of

from massrl.config.evaluation import EvaluateConfig, SegmentConfig
from massrl.data.annotated import IGNORED, ObjectSource
from massrl.data.sources.shapes import ShapesSource
from massrl.errors import ConfigError, DataError
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.task import build_tasks
from massrl.evaluation.tasks.segmentation import (
    build_segmenter,
    check_classes,
    pixel_counts,
    pixel_loss,
    segment,
    union_metrics,
)
from massrl.models.backbones import build_backbone


def maps(train: ObjectSource, test: ObjectSource) -> EvaluationContext:
    torch.manual_seed(0)
    network = build_backbone("resnet10-tiny", stem="small", image_side=32)
    return context_of(train, test, network=network, size=32)


def test_metrics_of_pixels_are_those_counted_by_hand() -> None:
    """Guards the mean over classes, and pixels that are ignored."""
    truth = np.array([[0, 0, 1, 1], [0, 255, 1, 1]], np.uint8)
    predicted = np.array([[0, 1, 1, 1], [0, 3, 0, 1]], np.uint8)
    counts = pixel_counts(truth, predicted, num_classes=4)
    metrics, per_class = union_metrics(counts, ("background", "a", "b", "c"))
    # Background: 2 right, 1 missed, 1 too many; a: 3 right, 1 missed, 1 too many.
    assert per_class == {"background": 50.0, "a": 60.0, "b": None, "c": None}
    assert metrics["miou"] == pytest.approx(55.0)
    assert metrics["pixel_accuracy"] == pytest.approx(100 * 5 / 7)


@pytest.mark.parametrize("seed", range(4))
def test_metrics_of_pixels_are_scikit_learns(seed: int) -> None:
    """Guards classes that only the truth or only the prediction has, and those that neither has."""
    generator = np.random.default_rng(seed)
    truth = generator.choice([0, 2, 3, IGNORED], 200).astype(np.uint8)
    predicted = generator.choice([0, 2, 4], 200).astype(np.uint8)
    metrics, _ = union_metrics(pixel_counts(truth, predicted, num_classes=6), tuple("abcdef"))
    used = truth != IGNORED
    wanted = jaccard_score(truth[used], predicted[used], average="macro")
    assert metrics["miou"] == pytest.approx(100 * wanted)
    right = accuracy_score(truth[used], predicted[used])
    assert metrics["pixel_accuracy"] == pytest.approx(100 * right)


def test_metrics_are_none_where_no_pixel_counts() -> None:
    """Guards a mean over no class, and an accuracy over no pixel, which were 0."""
    metrics, per_class = union_metrics(np.zeros((2, 2), np.int64), ("background", "a"))
    assert metrics == {"miou": None, "pixel_accuracy": None}
    assert per_class == {"background": None, "a": None}


class Painted(ShapesSource):
    """Scenes whose pixels all have one of two values, the first in the first scene and so on."""

    def __init__(self, *values: int) -> None:
        super().__init__(len(values), 32)
        self.values, self.read_maps = values, 0

    def label_map(self, index: int) -> np.ndarray:
        """Return a map of one value."""
        self.read_maps += 1
        return np.full((32, 32), self.values[index], np.uint8)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((IGNORED, IGNORED), r"hold only ignored pixels \(255\)"),
        ((0, IGNORED), r"hold only 'background' and ignored pixels \(255\)"),
        ((3, 3), r"hold only 'square' and ignored pixels \(255\)"),
    ],
)
def test_masks_of_one_class_are_refused(values: tuple[int, int], message: str) -> None:
    """Guards a run that learns nothing: every object pixel was ignored, pixel accuracy 99.97 %.

    To the kind belong masks that are all ignored, all background, and all one object; of the training
    images and of the test images.
    """
    shapes, painted = ShapesSource(2, 32), Painted(*values)
    message = message.replace("square", shapes.object_names[2])
    config = SegmentConfig(epochs=1, size=32)
    with pytest.raises(DataError, match=rf"{message}.*\(--data\.train\)"):
        segment(maps(painted, shapes), config, seed=0)
    with pytest.raises(DataError, match=rf"{message}.*\(--data\.val\)"):
        segment(maps(shapes, painted), config, seed=0)


def test_batch_of_ignored_pixels_has_no_loss() -> None:
    """Guards a run against its end by a batch in which nothing counts; others are as PyTorch's."""
    logits = torch.randn(2, 3, 4, 5, requires_grad=True)
    truth = torch.full((2, 4, 5), IGNORED)
    loss = pixel_loss(logits, truth)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()
    truth[1, 2, 3] = 2
    wanted = -logits.log_softmax(1)[1, 2, 2, 3]
    assert pixel_loss(logits, truth).item() == pytest.approx(wanted.item())


def test_masks_are_read_until_two_classes_are_found() -> None:
    """Guards the start of a run, which must not read every mask twice."""
    source = Painted(0, 3, 4, 5)
    check_classes(source, flag="--x")
    assert source.read_maps == 2


@pytest.mark.parametrize("head", ["fcn", "deeplab"])
def test_every_pixel_has_a_class(head: str) -> None:
    """Guards both heads, and the resolution of their input."""
    network = build_backbone("resnet10-narrow", stem="standard", image_side=64)
    segmenter = build_segmenter(network, num_classes=3, head=head).eval()
    with torch.inference_mode():
        assert segmenter(torch.randn(1, 3, 64, 48)).shape == (1, 3, 64, 48)
        assert segmenter.body(torch.randn(1, 3, 64, 48))["layer4"].shape[2:] == (8, 6)


def test_result_is_the_same_for_a_seed_whatever_was_drawn_before() -> None:
    """Guards metrics against what ran before them: the head drops features at random."""
    context = maps(ShapesSource(8, 32), ShapesSource(2, 32, split="val"))
    config = SegmentConfig(epochs=1, batch_size=4, size=32, pictures=1)
    predictions = []
    for seed in (0, 0, 1):
        torch.rand(5)
        predictions.append(segment(context, config, seed=seed).shown[0][2])
    np.testing.assert_array_equal(predictions[0], predictions[1])
    assert not np.array_equal(predictions[0], predictions[2])


def test_single_training_image_is_refused() -> None:
    """Guards batch norm, which has no statistics of one image."""
    context = maps(ShapesSource(1, 32), ShapesSource(2, 32))
    with pytest.raises(DataError, match="too few to train on"):
        segment(context, SegmentConfig(epochs=1, size=32), seed=0)


def test_segmenter_learns_and_leaves_the_backbone_unchanged() -> None:
    """Guards the way from class maps to metrics: it must tell objects from background within seconds."""
    context = maps(ShapesSource(64, 32), ShapesSource(20, 32, split="val"))
    before = {name: item.clone() for name, item in context.network.state_dict().items()}
    config = SegmentConfig(epochs=10, batch_size=8, lr=0.2, size=32, pictures=2)
    result = segment(context, config, seed=0)
    after = context.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    background = result.per_class["background"]
    assert background is not None
    assert background > 85  # predicting background everywhere gives about 80
    assert len(result.shown) == 2


def test_task_stores_settings_in_use_and_a_picture(tmp_path: Path) -> None:
    """Guards ``results.json``, and pictures against being written where nothing is."""
    context = maps(ShapesSource(4, 32), ShapesSource(2, 32))
    (task,) = build_tasks(["segment"])
    config = EvaluateConfig(segment=SegmentConfig(epochs=0.5, batch_size=2, pictures=1))
    (result,) = task.run(replace(context, folder=tmp_path), config)
    assert result.settings == {"size": 64, "head": "fcn", "picture": "segment.png"}
    assert (tmp_path / "segment.png").is_file()
    assert {"miou", "pixel_accuracy", "per_class", "ignored_percent", "num_images"} == set(
        result.metrics
    )
    assert result.metrics["ignored_percent"] == 0
    (result,) = task.run(context, config)
    assert "picture" not in result.settings


def test_backbone_without_stages_is_refused_before_the_run() -> None:
    """Guards hours of other tasks before an error that could be seen at the start."""
    (task,) = build_tasks(["segment"])
    with pytest.raises(ConfigError, match="no stages"):
        task.check(torch.nn.Linear(2, 2))
