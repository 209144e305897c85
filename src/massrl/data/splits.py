"""Seeded subsets that keep the balance of the classes."""

from __future__ import annotations

import numpy as np

from massrl.errors import ConfigError

_WORD = 2**64 - 1
_SUBSET, _HOLDOUT = 1, 2  # keep the two kinds of draw apart under one seed


def balanced_subset(
    labels: np.ndarray | None, amount: int | float, *, seed: int, total: int | None = None
) -> np.ndarray:
    """Choose images at random, with every class keeping its share.

    Each class gets its share of the whole rounded down or up, so that the amounts add up exactly;
    with equal classes and an amount they divide, every class gets equally many. Under one seed a
    smaller subset of the same labels lies within a larger one but for what rounding moves.

    Args:
        labels: int ``(n,)``; None chooses uniformly among ``total`` images.
        amount: how many, as a whole number of at least 1; or a share of them in (0, 1].
        seed: of the choice.
        total: number of images, needed where labels are None.

    Returns:
        int64 ``(amount,)``, sorted indices.

    Raises:
        ConfigError: if the amount is not positive or more than there is.

    Example:
        >>> balanced_subset(np.array([0, 0, 0, 0, 1, 1, 1, 1]), 4, seed=0).shape
        (4,)
    """
    num_images = _number(labels, total)
    count = _count(amount, num_images)
    labels = np.zeros(num_images, np.int64) if labels is None else np.asarray(labels)
    chosen = _draw(labels, count, seed=seed, kind=_SUBSET)
    return np.flatnonzero(chosen)


def holdout(
    labels: np.ndarray | None, fraction: float, *, seed: int, total: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Set a part of every class aside.

    Args:
        labels: int ``(n,)``; None divides ``total`` images without regard to class.
        fraction: share to hold out, in (0, 1).
        seed: of the choice.
        total: number of images, needed where labels are None.

    Returns:
        ``(kept, held)``: int64 sorted indices, together every image once. Where there are two
        images or more, neither is empty.

    Raises:
        ConfigError: if the fraction is not in (0, 1) or there are fewer than two images.
    """
    num_images = _number(labels, total)
    if not 0 < fraction < 1:
        raise ConfigError(f"held-out fraction is {fraction}; between 0 and 1 is accepted")
    if num_images < 2:
        raise ConfigError(f"{num_images} image cannot be divided; at least 2 are needed")
    labels = np.zeros(num_images, np.int64) if labels is None else np.asarray(labels)
    count = min(max(round(num_images * fraction), 1), num_images - 1)
    held = _draw(labels, count, seed=seed, kind=_HOLDOUT)
    return np.flatnonzero(~held), np.flatnonzero(held)


def _number(labels: np.ndarray | None, total: int | None) -> int:
    if labels is not None:
        return len(labels)
    if total is None:
        raise ValueError("total is needed where there are no labels")
    return total


def _count(amount: int | float, num_images: int) -> int:
    if isinstance(amount, float):
        if not 0 < amount <= 1:
            raise ConfigError(
                f"share {amount} is not in (0, 1]; a whole number is a count (--data.limit)"
            )
        return max(1, round(num_images * amount))
    if not 1 <= amount <= num_images:
        raise ConfigError(
            f"{amount} images asked for; between 1 and {num_images} are accepted (--data.limit)"
        )
    return amount


def _draw(labels: np.ndarray, count: int, *, seed: int, kind: int) -> np.ndarray:
    """Mark ``count`` images, every class in proportion (largest remainders; ties at random)."""
    key = np.array([seed & _WORD, kind], np.uint64)
    generator = np.random.Generator(np.random.Philox(key=key))
    lottery = generator.random(len(labels))
    classes, inverse, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    exact = sizes * count / len(labels)
    shares = np.floor(exact).astype(np.int64)
    order = np.lexsort((generator.random(len(classes)), -np.round(exact - shares, 9)))
    shares[order[: count - int(shares.sum())]] += 1
    # Sorted by class and lot, an image's place within its class says whether it is drawn.
    sequence = np.lexsort((lottery, inverse))
    starts = np.cumsum(sizes) - sizes
    places = np.empty(len(labels), np.int64)
    places[sequence] = np.arange(len(labels)) - np.repeat(starts, sizes)
    return np.asarray(places < shares[inverse])
