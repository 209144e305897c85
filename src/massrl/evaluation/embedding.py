"""Distances between features: two-dimensional maps, nearest neighbours, distances between views."""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional as F

_PERPLEXITY = 30.0
_MIN_IMAGES = 5  # of a map
_MIN_SPREAD = 1e-6  # of the features: t-SNE divides by it


def flat_maps(features: Tensor, *, seed: int) -> dict[str, np.ndarray]:
    """Project L2-normalised features to two dimensions.

    Args:
        features: ``(n, D)``.
        seed: of the projections that are initialised at random.

    Returns:
        Float64 ``(n, 2)`` in [0, 1] by the projection's name: ``PCA``; ``t-SNE``; ``UMAP`` where its package
        is installed. Empty below five images, and where all features are equal.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    values = F.normalize(features.float(), dim=1).numpy().astype(np.float64)
    if len(features) < _MIN_IMAGES or not np.ptp(values, axis=0).max() > _MIN_SPREAD:
        return {}
    perplexity = min(_PERPLEXITY, (len(values) - 1) / 3)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # about the libraries' own next versions
        maps = {
            "PCA": PCA(2, svd_solver="full").fit_transform(values),
            "t-SNE": TSNE(
                2, perplexity=perplexity, init="pca", random_state=seed, max_iter=500
            ).fit_transform(values),
        }
        if importlib.util.find_spec("umap") is not None:
            from umap import UMAP

            neighbours = min(15, len(values) - 1)
            maps["UMAP"] = UMAP(
                n_neighbors=neighbours, metric="cosine", random_state=seed
            ).fit_transform(values)
    return {name: _in_unit_square(np.asarray(item, np.float64)) for name, item in maps.items()}


def _in_unit_square(points: np.ndarray) -> np.ndarray:
    """Shift and scale points into the unit square, both axes alike so that distances stay comparable."""
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float((high - low).max()) or 1.0
    return np.asarray((points - (low + high) / 2) / extent + 0.5)


def nearest(queries: Tensor, bank: Tensor, *, count: int) -> Tensor:
    """Return indices of the features of highest cosine similarity, nearest first: int64 ``(n, count)``."""
    similarity = F.normalize(queries.float(), dim=1) @ F.normalize(bank.float(), dim=1).T
    return similarity.topk(min(count, len(bank)), dim=1).indices


def relative_distance(first: Tensor, second: Tensor) -> float | None:
    """Return the distance between two views of the same image, relative to that between images.

    Args:
        first: ``(n, D)``, features of one view of each image.
        second: ``(n, D)``, of another view.

    Returns:
        Mean cosine distance between an image's two views, divided by that between different images' first
        views: 0 for features that are invariant, 1 where views differ as much as images do; ``None`` for a
        single image, and where all images have the same features.
    """
    one, other = F.normalize(first.double(), dim=1), F.normalize(second.double(), dim=1)
    own = 1 - (one * other).sum(dim=1)
    between = 1 - one @ one.T
    count = len(one)
    different = between[~torch.eye(count, dtype=torch.bool)]
    if count < 2 or not float(different.mean()) > _MIN_SPREAD:
        return None
    return float(own.mean() / different.mean())
