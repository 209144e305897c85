"""Features on disk: the right ones, or none."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import photos
from tests.evaluation.conftest import Backbone, colours

from massrl.data.catalogue import open_source
from massrl.data.source import Normalization, Source, remap_classes
from massrl.evaluation.feature_cache import cached_features, network_fingerprint
from massrl.evaluation.features import Features, extract_features
from massrl.files import cache_folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MASSRL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


class Asked:
    """Extracts features, and counts how often it had to."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.network = Backbone().eval()
        self.times = 0

    def __call__(self, source: Source, *, side: int = 8) -> Features:
        """Features of a source, from the cache or anew."""

        def extract() -> Features:
            self.times += 1
            return extract_features(self.network, source, side=side)

        fingerprint = network_fingerprint(self.network)
        return cached_features(fingerprint, source, side=side, extract=extract)


def test_features_are_made_once_and_are_the_same() -> None:
    """Guards the figure: the second evaluation rests on the same numbers, bit for bit."""
    asked, source = Asked(), colours(20, seed=0)
    first, second = asked(source), asked(source)
    assert asked.times == 1
    assert torch.equal(first.values, second.values)
    assert torch.equal(first.labels, second.labels)


def test_anything_that_changes_features_makes_them_anew() -> None:
    """Guards against features of another network, other images, or images prepared otherwise."""
    asked, source = Asked(), colours(20, seed=0)
    asked(source)
    for number, change in enumerate(
        ("statistics", "weights", "size", "constants", "images"), start=2
    ):
        other = source
        if change == "statistics":
            asked.network.layers[1].running_mean += 0.1  # type: ignore[operator, union-attr]
        elif change == "weights":
            with torch.no_grad():
                asked.network.layers[0].weight[0, 0, 0, 0] += 1e-3  # type: ignore[index]
        elif change == "constants":
            other = colours(20, seed=0)
            other.normalization = Normalization(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
        elif change == "images":
            other = colours(20, seed=0, name="others")
        asked(other, side=9 if change == "size" else 8)
        assert asked.times == number, change


def test_layers_that_no_weight_tells_apart_count_too() -> None:
    """Guards networks that differ in padding alone, as two small stems do."""
    first, second = Backbone(), Backbone()
    second.load_state_dict(first.state_dict())
    assert network_fingerprint(first) == network_fingerprint(second)
    second.layers[0].padding = (2, 2)  # type: ignore[assignment]
    assert network_fingerprint(first) != network_fingerprint(second)


def test_labels_are_the_sources_own() -> None:
    """Guards classes that are counted otherwise: the same images, other numbers for their classes."""
    asked, source = Asked(), colours(20, seed=0)
    renumbered = remap_classes(source, ("zero", *source.class_names))
    plain, moved = asked(remap_classes(source, source.class_names)), asked(renumbered)
    assert asked.times == 1
    assert torch.equal(moved.labels, plain.labels + 1)


def test_file_that_is_damaged_is_made_anew(cache: Path) -> None:
    """Guards an evaluation against what a full disk or another program left."""
    asked, source = Asked(), colours(20, seed=0)
    first = asked(source)
    (file,) = cache.iterdir()
    assert cache_folder("features") == cache
    file.write_bytes(file.read_bytes()[:50])
    assert torch.equal(asked(source).values, first.values)
    assert asked.times == 2
    assert torch.equal(asked(source).values, first.values)
    assert asked.times == 2


def test_cache_that_cannot_be_written_costs_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards hours of extraction against a full disk."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MASSRL_CACHE", str(tmp_path / "file"))
    features = Asked()(colours(20, seed=0))
    assert features.values.shape == (20, 6)
    assert np.isfinite(features.values.numpy()).all()
    assert "features are not cached" in caplog.text


def test_file_that_was_written_again_is_another_image(tmp_path: Path) -> None:
    """Guards bitmaps, which have one size whatever they show."""
    photos(tmp_path / "photos", "a", "b", count=3)
    source, asked = open_source(tmp_path / "photos"), Asked()
    first = asked(source)
    path = Path(source.describe(0))
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1_000_000))
    assert torch.equal(asked(source).values, first.values)
    assert asked.times == 2
