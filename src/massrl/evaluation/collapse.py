"""Measures of collapse: two numbers that fall when features of different images become alike."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


@torch.no_grad()
def embedding_std(features: Tensor) -> float:
    """Return the spread of the features' directions: 1 for an isotropic Gaussian, 0 for a collapse.

    The standard deviation over images of each dimension of the L2-normalised features, averaged
    over dimensions, times ``√D``.

    Args:
        features: ``(n, D)``, n ≥ 2.

    Raises:
        ValueError: if there are fewer than two features.

    Source: Chen and He, arXiv 2011.10566, section 4.1.
    """
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"features are {tuple(features.shape)}, but (n, D), n > 1, is wanted")
    directions = F.normalize(features.double(), dim=1)
    spread = directions.std(dim=0, correction=0).mean()
    return float(spread) * math.sqrt(features.shape[1])


@torch.no_grad()
def effective_rank(features: Tensor) -> float:
    """Return the effective number of dimensions: the exponential of the singular values' entropy.

    Args:
        features: ``(n, D)``, not centred.

    Returns:
        Between 1 and ``min(n, D)``; 0 where all features are zero.

    Raises:
        ValueError: if this is no matrix.

    Source: RankMe, Garrido et al., arXiv 2210.02885, equation 1.
    """
    if features.ndim != 2:
        raise ValueError(f"features are {tuple(features.shape)}, but (n, D) is wanted")
    values = torch.linalg.svdvals(features.float())
    total = values.sum()
    if not total > 0:
        return 0.0
    shares = values / total
    return float(torch.special.entr(shares).sum().exp())  # entr(0) is 0, so that no ε is needed
