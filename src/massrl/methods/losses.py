"""The losses of N views, as pure functions in float32.

Each gives a matrix: entry (i, j) is the mean over the batch of the loss of view i against view j. What
is trained on is a mean over the pairs in use; the matrix itself shows which strategies agree.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def regression_matrix(predictions: Tensor, projections: Tensor) -> Tensor:
    """BYOL's loss of every prediction against every target projection, 2 - 2 · cosine.

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
    """BYOL's loss of every prediction against the mean of the target projections it is paired with.

    The mean is of unit vectors and is brought to unit length again: an image whose views the target
    disagrees about counts as much as any other.

    Args:
        predictions: ``(M, B, D)``, of the online network.
        projections: ``(N, B, D)``, of the target network, without gradient.
        mask: bool ``(M, N)``, the pairs in use.

    Returns:
        float32 ``(M,)``, mean over B; without meaning where no pair is in use.

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
    """InfoNCE of every pair of views: positives are the image's other views, negatives other images.

    For view i of image b and its view j, the one positive is set against **all** views of all other
    images; further views of image b itself are in neither place. With two views this is SimCLR's
    NT-Xent exactly.

    Args:
        projections: ``(N, B, D)``.
        temperature: divisor of the cosines.
        others: ``(N, T, D)``, those of all processes, one's own among them.
        start: where one's own begin among them.

    Returns:
        float32 ``(N, N)``, mean over B; the diagonal has no meaning.

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
    """Where autocast would make a product of float32 tensors a half-precision one: not here."""
    return torch.autocast(tensor.device.type, enabled=False)


def pair_weight(count: int, reduction: str) -> float:
    """What the loss of each pair is multiplied with.

    Args:
        count: number of pairs in use.
        reduction: ``mean`` over them, times 2, so that two views give exactly BYOL's symmetric loss
            whatever N is; ``sum`` as the released MASSRL code has it, N (N - 1) / 2 times as large,
            which moves every parameter that LARS does not rescale that much faster.
    """
    return 2 / count if reduction == "mean" else 1.0


def reduce_pairs(matrix: Tensor, mask: Tensor, weight: float) -> Tensor:
    """One loss from the matrix of all pairs, or a part of it from some of its rows.

    Args:
        matrix: float ``(M, N)``.
        mask: bool ``(M, N)``, the pairs in use.
        weight: from ``pair_weight``.

    Returns:
        A scalar.
    """
    return torch.where(mask, matrix, 0.0).sum() * weight
