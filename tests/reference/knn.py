"""Weighted k-NN in NumPy, one query at a time, from the formula of Wu et al. 2018."""

from __future__ import annotations

import numpy as np


def knn_scores(
    bank: np.ndarray,
    labels: np.ndarray,
    queries: np.ndarray,
    *,
    num_classes: int,
    k: int,
    temperature: float,
    exclude_self: bool = False,
) -> np.ndarray:
    """Votes of exp(cosine / temperature), divided by their sum; float64."""
    scores = np.zeros((len(queries), num_classes))
    for row, query in enumerate(queries.astype(np.float64)):
        found = []
        for column, other in enumerate(bank.astype(np.float64)):
            if exclude_self and column == row:
                continue
            cosine = query @ other / (np.linalg.norm(query) * np.linalg.norm(other))
            found.append((cosine, labels[column]))
        for cosine, label in sorted(found, reverse=True)[:k]:
            scores[row, label] += np.exp(cosine / temperature)
        scores[row] /= scores[row].sum()
    return scores
