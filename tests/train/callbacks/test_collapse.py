"""The collapse monitor: the loss matrix, the spread of embeddings, and its warning."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from massrl.methods.base import MethodOutput
from massrl.train.callbacks.collapse import CollapseMonitor


def output(
    features: Tensor, *, loss: float = 0.0, predictions: Tensor | None = None
) -> MethodOutput:
    return MethodOutput(
        torch.zeros(()), torch.full((2, 2), loss), features, features * 2, predictions
    )


def noise() -> Tensor:
    return torch.randn(64, 8, generator=torch.Generator().manual_seed(0))


def make_step(number: int, content: MethodOutput, *, is_last: bool = False) -> Any:
    mask = ~torch.eye(2, dtype=torch.bool)
    method = SimpleNamespace(mask=mask)
    return SimpleNamespace(step=number, output=content, is_last=is_last, method=method)


def test_matrix_is_a_mean_over_the_last_steps(tmp_path: Path) -> None:
    """Guards the picture against one batch's noise, and the file against pairs that are not in use."""
    monitor = CollapseMonitor(["a", "b"], tmp_path / "matrix.json")
    for number, loss in enumerate((1.0, 2.0), start=1):
        step = make_step(number, output(noise(), loss=loss))
        monitor.after_step(step)
    assert monitor.matrix is not None
    assert torch.allclose(monitor.matrix, torch.full((2, 2), 1.02))
    monitor.on_end(step)
    content = json.loads((tmp_path / "matrix.json").read_text(encoding="utf-8"))
    assert content == {"step": 2, "views": ["a", "b"], "loss": [[None, 1.02], [1.02, None]]}


def test_session_without_a_step_writes_no_matrix(tmp_path: Path) -> None:
    """Guards the resume of a completed run, whose matrix must stay."""
    monitor = CollapseMonitor(["a", "b"], tmp_path / "matrix.json")
    monitor.on_end(make_step(10, output(noise())))
    assert not (tmp_path / "matrix.json").exists()


def test_embeddings_are_measured_every_25_steps_and_after_the_last(tmp_path: Path) -> None:
    """Guards the curves of spread and rank; between two measurements they are empty, not stale."""
    monitor = CollapseMonitor(["a", "b"], tmp_path / "matrix.json")
    names = ("embedding_std", "feature_std", "prediction_std", "effective_rank")
    measured = []
    for number in range(1, 53):
        content = output(noise(), predictions=noise() if number < 50 else None)
        monitor.after_step(make_step(number, content, is_last=number == 52))
        values = [getattr(monitor, name) for name in names]
        if any(value is not None for value in values):
            measured.append((number, [value is not None for value in values]))
    assert measured == [
        (25, [True] * 4),
        (50, [True, True, False, True]),
        (52, [True, True, False, True]),
    ]
    assert monitor.embedding_std == pytest.approx(1.0, abs=0.1)  # of noise
    assert monitor.effective_rank == pytest.approx(8.0, abs=1.0)


def test_collapse_is_warned_of_once_with_what_to_try(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards the warning: a representation that is one point must not look like a good loss."""
    monitor = CollapseMonitor(["a", "b"], tmp_path / "matrix.json")
    same = torch.ones(64, 8) + 1e-4 * noise()
    with caplog.at_level(logging.WARNING, logger="massrl"):
        monitor.after_step(make_step(25, output(noise())))
        assert caplog.text == ""
        for number in (50, 75):
            monitor.after_step(make_step(number, output(same)))
    assert caplog.text.count("the representation is collapsing: at step 50") == 1
    assert "at step 75" not in caplog.text
    assert "--method.target_momentum" in caplog.text
