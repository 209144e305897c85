"""Features cached on disk: the right ones, or none."""

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


class Extractor:
    """Extracts features through the cache, and counts extractions."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.network = Backbone().eval()
        self.calls = 0

    def __call__(self, source: Source, *, side: int = 8) -> Features:
        """Return the features of a source, from the cache or extracted."""

        def extract() -> Features:
            self.calls += 1
            return extract_features(self.network, source, side=side)

        fingerprint = network_fingerprint(self.network)
        return cached_features(fingerprint, source, side=side, extract=extract)


def test_features_are_extracted_once_and_are_the_same() -> None:
    """Guards the metrics: the second evaluation uses the same numbers, bit for bit."""
    extractor, source = Extractor(), colours(20, seed=0)
    first, second = extractor(source), extractor(source)
    assert extractor.calls == 1
    assert torch.equal(first.values, second.values)
    assert torch.equal(first.labels, second.labels)


def test_features_are_extracted_again_after_any_change() -> None:
    """Guards against features of another network, of other images, or at another size."""
    extractor, source = Extractor(), colours(20, seed=0)
    extractor(source)
    for number, change in enumerate(
        ("statistics", "weights", "size", "constants", "images"), start=2
    ):
        other = source
        if change == "statistics":
            extractor.network.layers[1].running_mean += 0.1  # type: ignore[operator, union-attr]
        elif change == "weights":
            with torch.no_grad():
                extractor.network.layers[0].weight[0, 0, 0, 0] += 1e-3  # type: ignore[index]
        elif change == "constants":
            other = colours(20, seed=0)
            other.normalization = Normalization(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
        elif change == "images":
            other = colours(20, seed=0, name="others")
        extractor(other, side=9 if change == "size" else 8)
        assert extractor.calls == number, change


def test_fingerprint_depends_on_layers_without_weights() -> None:
    """Guards networks that differ in padding alone, as two small stems do."""
    first, second = Backbone(), Backbone()
    second.load_state_dict(first.state_dict())
    assert network_fingerprint(first) == network_fingerprint(second)
    second.layers[0].padding = (2, 2)  # type: ignore[assignment]
    assert network_fingerprint(first) != network_fingerprint(second)


def test_labels_are_those_of_the_source() -> None:
    """Guards renumbered classes: the same images, other labels."""
    extractor, source = Extractor(), colours(20, seed=0)
    renumbered = remap_classes(source, ("zero", *source.class_names))
    plain, shifted = extractor(remap_classes(source, source.class_names)), extractor(renumbered)
    assert extractor.calls == 1
    assert torch.equal(shifted.labels, plain.labels + 1)


def test_damaged_file_is_replaced(cache: Path) -> None:
    """Guards an evaluation against what a full disk or another program left."""
    extractor, source = Extractor(), colours(20, seed=0)
    first = extractor(source)
    (file,) = cache.iterdir()
    assert cache_folder("features") == cache
    file.write_bytes(file.read_bytes()[:50])
    assert torch.equal(extractor(source).values, first.values)
    assert extractor.calls == 2
    assert torch.equal(extractor(source).values, first.values)
    assert extractor.calls == 2


def test_cache_that_cannot_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards hours of extraction against a full disk."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MASSRL_CACHE", str(tmp_path / "file"))
    features = Extractor()(colours(20, seed=0))
    assert features.values.shape == (20, 6)
    assert np.isfinite(features.values.numpy()).all()
    assert "features are not cached" in caplog.text


def test_image_file_that_was_modified_is_another_image(tmp_path: Path) -> None:
    """Guards bitmaps, which have one size whatever they show."""
    photos(tmp_path / "photos", "a", "b", count=3)
    source, extractor = open_source(tmp_path / "photos"), Extractor()
    first = extractor(source)
    path = Path(source.describe(0))
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1_000_000))
    assert torch.equal(extractor(source).values, first.values)
    assert extractor.calls == 2
