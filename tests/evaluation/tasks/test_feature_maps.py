"""Feature report: invariance of a backbone whose blindness is known, and the files that are written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch
from tests.evaluation.conftest import colours, context_of
from torch import Tensor, nn

from massrl.config.evaluation import EvaluateConfig, FeaturesConfig
from massrl.config.parser import make_config
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.embedding import nearest
from massrl.evaluation.task import build_tasks
from massrl.evaluation.tasks.feature_maps import (
    THUMBNAIL,
    THUMBNAILS_PER_ROW,
    TILE,
    invariance,
    write_feature_report,
)
from massrl.views.layouts import MASSRL_POLICIES

CONFIG = FeaturesConfig(points=40, rows=3, invariance_images=24)


class Grey(nn.Module):
    """Sees lightness alone, place by place."""

    num_features = 16

    def forward(self, images: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)`` to 4 × 4 places."""
        # Undoes the normalisation.
        weights = torch.tensor([0.299 * 0.229, 0.587 * 0.224, 0.114 * 0.225])
        grey = (images * weights[:, None, None]).sum(dim=1, keepdim=True)
        return nn.functional.adaptive_avg_pool2d(grey, 4).flatten(1) + 1.0


def test_features_are_invariant_to_what_the_backbone_cannot_see(
    context: EvaluationContext,
) -> None:
    """Guards the table of invariances on a backbone whose blindness is known."""
    blind = replace(context, network=Grey())
    plain = "simclr(strength=0,blur_prob=0"
    policies = (f"{plain},grayscale_prob=1)", f"{plain},grayscale_prob=0,solarize_prob=1)")
    distances = invariance(blind, CONFIG, policies=policies, fill=0, seed=0)
    assert list(distances) == ["crop", *policies, "flip"]
    grey, solarised, flip = (distances[name] for name in (*policies, "flip"))
    assert grey is not None
    assert grey < 0.01
    assert solarised is not None
    assert solarised > 0.2
    assert flip is not None
    assert flip > 0.2


def test_policy_is_told_from_its_crop_and_flip(context: EvaluationContext) -> None:
    """Guards a policy's distance against what its crop or flip would do."""
    distances = invariance(context, CONFIG, policies=("weak",), fill=0, seed=0)
    assert distances["weak"] == pytest.approx(0.0, abs=1e-9)
    assert (distances["crop"] or 0) > 0.01
    assert (distances["flip"] or 0) > 0.001


def test_written_report_has_labels_and_pictures_of_the_same_images(
    tmp_path: Path, context: EvaluationContext
) -> None:
    """Guards a map whose points, labels and thumbnails are of different images."""
    write_feature_report(context, CONFIG, tmp_path, seed=0)
    content = json.loads((tmp_path / "features.json").read_text(encoding="utf-8"))
    assert content["labels"] == context.test_features.labels.tolist()
    assert content["classes"] == list(context.test.class_names)
    assert len(content["names"]) == 40
    assert all(len(points) == 40 for points in content["maps"].values())
    near = nearest(context.test_features.values, context.train_features.values, count=5)
    known = [context.train_features.labels[indices].tolist() for indices in near]
    assert len(content["rows"]) == 3
    assert all(row["near"] in known for row in content["rows"])
    sheet = cv2.imread(str(tmp_path / "map.jpg"))
    assert sheet.shape == (2 * THUMBNAIL, THUMBNAILS_PER_ROW * THUMBNAIL, 3)
    assert cv2.imread(str(tmp_path / "neighbours.jpg")).shape == (3 * TILE, 6 * TILE, 3)
    for number, label in enumerate(content["labels"][:3]):  # red, green, blue, in BGR order
        thumbnail = sheet[:THUMBNAIL, number * THUMBNAIL : (number + 1) * THUMBNAIL]
        assert thumbnail.mean(axis=(0, 1)).argmax() == 2 - label


def test_task_measures_the_policies_of_the_run(tmp_path: Path, context: EvaluationContext) -> None:
    """Guards the table against policies that the backbone never saw."""
    (task,) = build_tasks(["features"])
    config = EvaluateConfig(features=CONFIG)
    run = make_config({"views": {"policies": ["weak", "simclr"], "size": 8}})
    (result,) = task.run(replace(context, run=run), config)
    assert list(result.metrics["invariance"]) == ["crop", "weak", "simclr", "flip"]
    assert result.settings == {}
    assert result.metrics["num_images"] == 40
    (result,) = task.run(replace(context, folder=tmp_path, suffix="-x"), config)
    assert list(result.metrics["invariance"]) == ["crop", *MASSRL_POLICIES, "flip"]
    assert result.settings == {"folder": "features-x"}
    assert (tmp_path / "features-x" / "features.json").is_file()


def test_fewer_images_than_asked_for_are_all_shown(tmp_path: Path) -> None:
    """Guards a test set that is smaller than what is asked for."""
    small = context_of(colours(6, seed=0), colours(4, seed=1), folder=tmp_path)
    (task,) = build_tasks(["features"])
    (result,) = task.run(small, EvaluateConfig(features=CONFIG))
    assert result.metrics["num_images"] == 4
    content = json.loads((tmp_path / "features" / "features.json").read_text(encoding="utf-8"))
    assert len(content["labels"]) == 4
    assert content["maps"] == {}
