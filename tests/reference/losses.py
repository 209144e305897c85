"""The losses in NumPy, float64, one image and one pair at a time, as the papers write them."""

from __future__ import annotations

import numpy as np


def byol_pair(prediction: np.ndarray, target: np.ndarray) -> float:
    """Mean over the batch of 2 - 2 · cosine; ``(B, D)`` each. arXiv 2006.07733, equation 2."""
    total = 0.0
    for q, z in zip(prediction.astype(np.float64), target.astype(np.float64), strict=True):
        total += 2 - 2 * q @ z / (np.sqrt(q @ q) * np.sqrt(z @ z))
    return total / len(prediction)


def deepmind_byol(p1: np.ndarray, p2: np.ndarray, z1: np.ndarray, z2: np.ndarray) -> float:
    """DeepMind's loss of two views: both directions, added. byol_experiment.py, ``loss_fn``."""
    return byol_pair(p1, z2) + byol_pair(p2, z1)


def released_massrl(predictions: np.ndarray, targets: np.ndarray) -> float:
    """The released MASSRL code: the sum over all ordered pairs i ≠ j; ``(N, B, D)`` each."""
    count = len(predictions)
    return sum(
        byol_pair(predictions[i], targets[j]) for i in range(count) for j in range(count) if i != j
    )


def ntxent(z1: np.ndarray, z2: np.ndarray, temperature: float) -> float:
    """SimCLR's NT-Xent of 2B examples, equation 1 of arXiv 2002.05709, averaged over all of them."""
    z = np.concatenate([z1, z2]).astype(np.float64)
    z /= np.sqrt((z**2).sum(1, keepdims=True))
    similar = z @ z.T / temperature
    batch, total = len(z1), 0.0
    for i in range(2 * batch):
        j = (i + batch) % (2 * batch)
        denominator = sum(np.exp(similar[i, k]) for k in range(2 * batch) if k != i)
        total -= np.log(np.exp(similar[i, j]) / denominator)
    return total / (2 * batch)


def infonce_pair(z: np.ndarray, i: int, j: int, temperature: float) -> float:
    """View i against view j of the same image, all views of other images as negatives; (N, B, D)."""
    z = z.astype(np.float64)
    z = z / np.sqrt((z**2).sum(2, keepdims=True))
    count, batch, _ = z.shape
    total = 0.0
    for b in range(batch):
        positive = np.exp(z[i, b] @ z[j, b] / temperature)
        negatives = sum(
            np.exp(z[i, b] @ z[k, c] / temperature)
            for k in range(count)
            for c in range(batch)
            if c != b
        )
        total -= np.log(positive / (positive + negatives))
    return total / batch
