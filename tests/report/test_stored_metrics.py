"""Stored results for a model card: of which weights they are, and metrics in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from massrl.errors import CheckpointError
from massrl.report.stored_metrics import Measured, stored_metrics

ON = {"val": {"name": "mine", "num_images": 7}}


def is_a(backbone: Mapping[str, Any]) -> bool:
    return backbone.get("fingerprint") == "a"


def test_results_of_other_weights_or_none_are_not_taken(tmp_path: Path) -> None:
    """Guards a card against a results.json of weights that were there before."""
    assert stored_metrics(tmp_path, "start", of_same=is_a) == Measured(weights="start")
    for content in ({}, {"backbone": {}, "tasks": {}}, {"backbone": {"fingerprint": "b"}}):
        (tmp_path / "results.json").write_text(json.dumps(content))
        assert stored_metrics(tmp_path, "start", of_same=is_a) == Measured(weights="start")
    (tmp_path / "file").touch()
    assert stored_metrics(tmp_path / "file" / "x", "start", of_same=is_a).tasks == {}


def test_metric_that_is_null_is_said_in_words(tmp_path: Path) -> None:
    """Guards the card of a backbone whose test images had nothing to find; of random weights likewise."""
    result = {"ap": None, "ap50": 1.5, "data": ON, "software": {"torch": "2.9"}}
    content = {"backbone": {"fingerprint": "a"}, "tasks": {"detect": result}}
    for name, random_init in (("results.json", False), ("results-random-init.json", True)):
        (tmp_path / name).write_text(json.dumps(content))
        found = stored_metrics(tmp_path, "x", random_init=random_init, of_same=is_a)
        metrics = {"AP": "nothing to find", "AP50": "1.50"}
        assert found.tasks == {"object detection": (metrics, "7 images of mine")}
        assert found.software == {"torch": "2.9"}
        (tmp_path / name).unlink()


@pytest.mark.parametrize("content", ["{", "[]", '{"backbone": {"fingerprint": "a"}, "tasks": 3}'])
def test_damaged_results_are_named(tmp_path: Path, content: str) -> None:
    """Guards against a traceback, and against a card without the results that are there."""
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"damaged results\.json: massrl evaluate writes"):
        stored_metrics(tmp_path, "x", of_same=is_a)
