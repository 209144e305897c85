"""Maps, nearest neighbours and distances of features whose geometry is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from massrl.evaluation.embedding import flat_maps, nearest, relative_distance


def test_maps_keep_clusters_together() -> None:
    """Guards the maps: clusters that are far apart in all dimensions must be so in two."""
    generator = torch.Generator().manual_seed(0)
    centres = 4 * torch.eye(8)[:3]
    labels = torch.arange(90) % 3
    features = centres[labels] + 0.3 * torch.randn(90, 8, generator=generator)
    maps = flat_maps(features, seed=0)
    assert {"PCA", "t-SNE"} <= set(maps)
    for points in maps.values():
        assert points.shape == (90, 2)
        assert points.min() >= 0.0
        assert points.max() <= 1.0
        assert np.ptp(points, axis=0).max() == pytest.approx(1.0)
        middles = np.stack([points[labels == label].mean(axis=0) for label in range(3)])
        nearest_middle = ((points[:, None] - middles) ** 2).sum(axis=2).argmin(axis=1)
        assert (nearest_middle == labels.numpy()).mean() > 0.95
    assert flat_maps(features[:4], seed=0) == {}


def test_nearest_are_those_of_the_smallest_angle() -> None:
    """Guards the gallery against norms of features, and more neighbours than there are."""
    bank = torch.tensor([[10.0, 1.0], [0.1, 0.0], [0.0, 5.0], [-1.0, 0.0]])
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert nearest(queries, bank, count=2).tolist() == [[1, 0], [2, 0]]
    assert nearest(queries, bank, count=9).shape == (2, 4)


def test_distance_is_in_units_of_the_distance_between_images() -> None:
    """Guards the table's scale: 0 for the same features, 1 for those of any other image."""
    features = torch.eye(4)
    assert relative_distance(features, 7 * features) == pytest.approx(0.0)
    assert relative_distance(features, features.roll(1, 0)) == pytest.approx(1.0)
    # Half way between two directions: a cosine of the square root of a half.
    between = features + features.roll(1, 0)
    assert relative_distance(features, between) == pytest.approx(1 - 0.5**0.5)


def test_collapsed_features_have_no_map_and_no_distance() -> None:
    """Guards Python itself, which t-SNE of equal points brings down."""
    assert flat_maps(torch.ones(30, 8), seed=0) == {}
    assert relative_distance(torch.ones(5, 3), torch.ones(5, 3)) is None
    assert relative_distance(torch.ones(1, 3), torch.ones(1, 3)) is None
