"""Features in two dimensions, to look at."""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional as F

_PERPLEXITY = 30.0
_FEWEST = 5  # images: fewer make no map
_LEAST_SPREAD = 1e-6  # of the features: t-SNE divides by it


def flat_maps(features: Tensor, *, seed: int) -> dict[str, np.ndarray]:
    """Maps of features, which are compared by their directions as k-NN does.

    Args:
        features: ``(n, D)``.
        seed: of the maps that begin at random.

    Returns:
        By name, each float64 ``(n, 2)`` in [0, 1]: ``PCA``; ``t-SNE``; ``UMAP`` where its package is
        installed. Empty below five images, and where all features are the same.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    values = F.normalize(features.float(), dim=1).numpy().astype(np.float64)
    if len(features) < _FEWEST or not np.ptp(values, axis=0).max() > _LEAST_SPREAD:
        return {}
    perplexity = min(_PERPLEXITY, (len(values) - 1) / 3)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # of the libraries' own next versions
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
    """The same picture, moved and scaled: both axes alike, so that distances stay comparable."""
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float((high - low).max()) or 1.0
    return np.asarray((points - (low + high) / 2) / extent + 0.5)


def nearest(queries: Tensor, bank: Tensor, *, count: int) -> Tensor:
    """Positions of the most similar features, the nearest first: int64 ``(n, count)``."""
    similarity = F.normalize(queries.float(), dim=1) @ F.normalize(bank.float(), dim=1).T
    return similarity.topk(min(count, len(bank)), dim=1).indices


def relative_distance(first: Tensor, second: Tensor) -> float | None:
    """How far apart features of two views of the same images are, in units of two images' distance.

    Args:
        first: ``(n, D)``, of one view of each image.
        second: ``(n, D)``, of another.

    Returns:
        Mean cosine distance of an image's two views, divided by that of different images' first views: 0
        where the backbone does not see the difference, 1 where it is as large as another image's; None
        where there is a single image, or all are the same to the backbone.
    """
    one, other = F.normalize(first.double(), dim=1), F.normalize(second.double(), dim=1)
    own = 1 - (one * other).sum(dim=1)
    between = 1 - one @ one.T
    count = len(one)
    different = between[~torch.eye(count, dtype=torch.bool)]
    if count < 2 or not float(different.mean()) > _LEAST_SPREAD:
        return None
    return float(own.mean() / different.mean())
