"""The losses of N views, as pure functions in float32.

Each returns a matrix: entry (i, j) is the mean over the batch of the loss of view i against view j. The
training loss is its mean over the pairs in use; the matrix itself shows which policies agree.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def regression_matrix(predictions: Tensor, projections: Tensor) -> Tensor:
    """Return BYOL's loss, 2 - 2 · cosine, of every prediction against every target projection.

    Args:
        predictions: ``(N, B, D)``, of the online network.
        projections: ``(N, B, D)``, of the target network, without gradient.

    Returns:
        float32 ``(N, N)``; entry (i, j) is the mean over B of ‖p̂_i - ẑ_j‖².

    Source: arXiv 2006.07733, equation 2.
    """
    with in_float32(predictions):
        p = F.normalize(predictions.float(), dim=-1)
        z = F.normalize(projections.float(), dim=-1)
        cosines = p.flatten(1) @ z.flatten(1).T / p.shape[1]
    return 2 - 2 * cosines


def mean_target_losses(predictions: Tensor, projections: Tensor, mask: Tensor) -> Tensor:
    """Return BYOL's loss of every prediction against the mean of its paired target projections.

    The mean of unit vectors is normalised again, so that an image whose target projections disagree has
    the same weight as any other.

    Args:
        predictions: ``(M, B, D)``, of the online network.
        projections: ``(N, B, D)``, of the target network, without gradient.
        mask: bool ``(M, N)``, the pairs in use.

    Returns:
        float32 ``(M,)``, mean over B; undefined in rows without a pair in use.

    Source: mean of the views' embeddings as their common target, EMP-SSL, arXiv 2304.03977.
    """
    with in_float32(predictions):
        p = F.normalize(predictions.float(), dim=-1)
        z = F.normalize(projections.float(), dim=-1)
        means = F.normalize((mask.float() @ z.flatten(1)).view(len(mask), *z.shape[1:]), dim=-1)
    return 2 - 2 * (p * means).sum(-1).mean(1)


def contrastive_matrix(
    projections: Tensor, temperature: float, *, others: Tensor | None = None, start: int = 0
) -> Tensor:
    """Return InfoNCE of every pair of views; negatives are the views of all other images.

    For view i of image b, its view j is the one positive and **all** views of all other images are the
    negatives; further views of image b are neither. With two views this is SimCLR's NT-Xent exactly.

    Args:
        projections: ``(N, B, D)``.
        temperature: divisor of the cosines.
        others: ``(N, T, D)``, projections of all processes, including this one's; ``projections`` by
            default.
        start: index in ``others`` of this process's first image.

    Returns:
        float32 ``(N, N)``, mean over B; the diagonal is undefined.

    Source: arXiv 2002.05709, equation 1.
    """
    num_views, batch_size, _ = projections.shape
    everyone = projections if others is None else others
    with in_float32(projections):
        z = F.normalize(projections.float(), dim=-1).flatten(0, 1)  # N·B × D
        z_all = F.normalize(everyone.float(), dim=-1).flatten(0, 1)  # N·T × D
        logits = (z @ z_all.T / temperature).view(num_views, batch_size, num_views, -1)
    own_images = logits.narrow(3, start, batch_size)
    positives = torch.diagonal(own_images, dim1=1, dim2=3)  # N × N × B
    own = torch.arange(batch_size, device=z.device)
    same_image = own[:, None] + start == torch.arange(logits.shape[3], device=z.device)  # B × T
    hidden = same_image[None, :, None, :]
    negatives = logits.masked_fill(hidden, float("-inf")).flatten(2).logsumexp(2)  # N × B
    return F.softplus(negatives[:, None] - positives).mean(2)


def in_float32(tensor: Tensor) -> torch.autocast:
    """Return a context without autocast, which would compute float32 products in half precision."""
    return torch.autocast(tensor.device.type, enabled=False)


def pair_weight(count: int, reduction: str) -> float:
    """Return the weight of each pair's loss.

    Args:
        count: number of pairs in use.
        reduction: ``mean`` over the pairs, times 2, so that two views give exactly BYOL's symmetric
            loss; ``sum`` as in the released MASSRL code, N (N - 1) / 2 times as large for all pairs,
            and so are the updates of parameters that LARS does not rescale.
    """
    return 2 / count if reduction == "mean" else 1.0


def reduce_pairs(matrix: Tensor, mask: Tensor, weight: float) -> Tensor:
    """Return the weighted sum of the losses of the pairs in use.

    Args:
        matrix: float ``(M, N)``, all or some rows of the loss matrix.
        mask: bool ``(M, N)``, the pairs in use.
        weight: from ``pair_weight``.

    Returns:
        A scalar.
    """
    return torch.where(mask, matrix, 0.0).sum() * weight
