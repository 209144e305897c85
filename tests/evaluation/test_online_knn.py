"""The k-NN accuracy that is measured while a run trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import photos
from tests.evaluation.conftest import Backbone
from torch import nn

from massrl.config.parser import make_config
from massrl.data.build import training_source
from massrl.data.source import Normalization
from massrl.distributed import World
from massrl.evaluation.features import Features, extract_features
from massrl.evaluation.online_knn import OnlineKnn, make_probe
from massrl.evaluation.tasks.knn import knn_predict


class Mean(nn.Module):
    """Features: the mean of each channel, and one of them twice."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map ``(B, 3, H, W)`` to ``(B, 4)``."""
        return torch.cat([images, images[:, :1]], dim=1).mean(dim=(2, 3))


def config_of(folder: Path, **data: Any) -> Any:
    return make_config(
        {"data": {"train": str(folder), **data}, "views": {"size": 8, "layout": "byol"}}
    )


def test_labels_that_do_not_fit_cost_the_probe_and_not_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards "labels are optional": sub-folders that are no classes must not end a run."""
    photos(tmp_path / "photos", "a", "b")
    photos(tmp_path / "val", "cat", "dog")
    config = config_of(tmp_path / "photos", val=str(tmp_path / "val"))
    assert make_probe(config, training_source(config.data), World()) is None
    assert "no k-NN while training" in caplog.text


def test_images_without_labels_have_no_probe(tmp_path: Path) -> None:
    """Guards a plain folder of photographs."""
    photos(tmp_path / "photos", "only")
    config = config_of(tmp_path / "photos")
    assert make_probe(config, training_source(config.data), World()) is None


def test_accuracy_is_that_of_knn_on_the_validation_images(tmp_path: Path) -> None:
    """Guards the number in ``metrics.csv``: bank, queries and normalisation of the run."""
    photos(tmp_path / "photos" / "train", "a", "b", count=12)
    photos(tmp_path / "photos" / "val", "a", "b", count=6, seed=1)
    config = config_of(tmp_path / "photos", mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])
    source = training_source(config.data)
    probe = make_probe(config, source, World())
    assert isinstance(probe, OnlineKnn)
    assert probe.queries is not None
    constants = Normalization(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    assert probe.bank.normalization == probe.queries.normalization == constants
    network = Backbone().eval()
    bank, queries = (
        extract_features(network, part, side=8) for part in (probe.bank, probe.queries)
    )
    scores = knn_predict(bank.values, bank.labels, queries.values, num_classes=2, k=20)
    wanted = 100 * float((scores.argmax(1) == queries.labels).float().mean())
    assert probe(network) == pytest.approx(wanted)


def test_without_validation_images_each_training_image_asks_the_others(tmp_path: Path) -> None:
    """Guards an image against voting for itself: two images, of two classes, are both wrong."""
    photos(tmp_path / "photos", "a", "b", count=1)
    config = config_of(tmp_path / "photos")
    probe = make_probe(config, training_source(config.data), World())
    assert probe is not None
    assert probe(Mean()) == 0.0


def test_broken_images_are_left_out_of_the_probe(tmp_path: Path) -> None:
    """Guards ``--data.on_error skip`` against an error at the first probe."""
    photos(tmp_path / "photos", "a", "b")
    (tmp_path / "photos" / "a" / "1.png").write_bytes(b"broken")
    config = config_of(tmp_path / "photos", on_error="skip")
    probe = make_probe(config, training_source(config.data), World())
    assert isinstance(probe, OnlineKnn)
    assert len(probe.bank) == 9
    assert 0 <= probe(Mean()) <= 100


def test_probe_of_fewer_images_than_processes(tmp_path: Path) -> None:
    """Guards a run that ends at its first probe, since a process has no image."""

    class Third(World):
        """The third of three; the other two have the two queries."""

        def all_gather_object(self, content: Any) -> list[Any]:
            own, indices = content
            if own is not None:  # the bank: the others' features are like one's own
                return [(own, indices - 2), (own, indices - 1), (own, indices)]
            queries = (Features(torch.ones(1, 4), torch.tensor([label])) for label in (0, 1))
            return [*zip(queries, map(np.array, ([0], [1])), strict=True), (own, indices)]

    photos(tmp_path / "photos" / "train", "a", "b")
    photos(tmp_path / "photos" / "val", "a", "b", count=1)
    config = config_of(tmp_path / "photos")
    probe = make_probe(config, training_source(config.data), Third(rank=2, size=3))
    assert probe is not None
    assert probe(Mean()) == 50.0  # both queries get the same answer, and one of them is right


@pytest.mark.parametrize(
    ("queries", "size", "seconds"), [(True, 1, 9.0), (False, 1, 6.0), (False, 2, 3.0)]
)
def test_seconds_of_a_probe_are_those_of_its_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, queries: bool, size: int, seconds: float
) -> None:
    """Guards the plan of a time budget: bank and queries, divided among processes, without a slow start.

    24 images in the bank, 12 queries, of which 8 are timed at 2 seconds; 10 more when it is the first time.
    """
    photos(tmp_path / "photos" / "train", "a", "b", count=12)
    photos(tmp_path / "photos" / "val", "a", "b", count=6, seed=1)
    config = config_of(tmp_path / "photos")
    probe = make_probe(config, training_source(config.data), World(size=size))
    assert isinstance(probe, OnlineKnn)
    probe = probe if queries else replace(probe, queries=None)
    now, extra = [0.0], [10.0, 0.0]

    def slow(backbone: Any, source: Any, *, side: int) -> None:
        assert (len(source), side) == (8, 8)
        now[0] += 2.0 + extra.pop(0)

    module = "massrl.evaluation.online_knn."
    monkeypatch.setattr(module + "_TIMED_IMAGES", 8)
    monkeypatch.setattr(module + "extract_features", slow)
    monkeypatch.setattr(module + "time", SimpleNamespace(perf_counter=lambda: now[0]))
    assert probe.estimate_seconds(Mean()) == pytest.approx(seconds)
