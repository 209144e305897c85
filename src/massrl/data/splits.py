"""Seeded subsets that keep the balance of the classes."""

from __future__ import annotations

import logging

import numpy as np

from massrl.errors import ConfigError

logger = logging.getLogger("massrl")

_VALIDATION = 0.2  # fraction of images that are held out where a set has no parts of its own
_WORD = 2**64 - 1
_SUBSET, _HOLDOUT = 1, 2  # half of the generator's key: one seed gives two independent draws


def balanced_subset(
    labels: np.ndarray | None, amount: int | float, *, seed: int, total: int | None = None
) -> np.ndarray:
    """Draw images at random, in the proportions of the classes.

    Each class gets its proportion rounded down or up, so that the numbers add up exactly; with classes of
    equal size and an amount that is a multiple of their number, every class gets equally many. With one
    seed, a smaller subset of the same labels is within a larger one except for rounding.

    Args:
        labels: int ``(n,)``; None draws uniformly from ``total`` images.
        amount: number of images, an int of at least 1; or a fraction of them, a float in (0, 1].
        seed: of the draw.
        total: number of images, needed where labels are None.

    Returns:
        int64 ``(amount,)``, sorted indices.

    Raises:
        ConfigError: if the amount is not positive, or greater than the number of images.

    Example:
        >>> balanced_subset(np.array([0, 0, 0, 0, 1, 1, 1, 1]), 4, seed=0).shape
        (4,)
    """
    num_images = _number(labels, total)
    count = _count(amount, num_images)
    labels = np.zeros(num_images, np.int64) if labels is None else np.asarray(labels)
    return np.flatnonzero(_draw(labels, count, seed=seed, kind=_SUBSET))


def holdout(
    labels: np.ndarray | None, fraction: float, *, seed: int, total: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Hold out a fraction of every class.

    Args:
        labels: int ``(n,)``; None splits ``total`` images without regard to class.
        fraction: of the images to hold out, in (0, 1).
        seed: of the draw.
        total: number of images, needed where labels are None.

    Returns:
        ``(rest, held_out)``: int64 sorted indices, together every image once; neither is empty.

    Raises:
        ConfigError: if the fraction is not in (0, 1) or there are fewer than two images.
    """
    num_images = _number(labels, total)
    if not 0 < fraction < 1:
        raise ConfigError(f"held-out fraction is {fraction}; between 0 and 1 is accepted")
    if num_images < 2:
        raise ConfigError(f"{num_images} image cannot be split; at least 2 are needed")
    labels = np.zeros(num_images, np.int64) if labels is None else np.asarray(labels)
    count = min(max(round(num_images * fraction), 1), num_images - 1)
    held_out = _draw(labels, count, seed=seed, kind=_HOLDOUT)
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def seeded_part(total: int, split: str, *, name: str) -> np.ndarray:
    """Draw the training or the validation images of a set that has no such parts; the log says it.

    Args:
        total: number of images.
        split: ``"train"``, four fifths; or ``"val"``, the others, which are the same in every command.
        name: the set, for the log and the error.

    Returns:
        int64 sorted indices.

    Raises:
        ConfigError: if there are fewer than two images.
    """
    kept, held_out = holdout(None, _VALIDATION, seed=0, total=total)
    drawn = held_out if split == "val" else kept
    logger.warning(
        "%s has no parts of its own: %d of its %d images are drawn for %s (seed 0)",
        *(name, len(drawn), total, "validation" if split == "val" else "training"),
    )
    return drawn


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
                f"fraction {amount} is not in (0, 1]; a whole number is a count (--data.limit)"
            )
        return max(1, round(num_images * amount))
    if not 1 <= amount <= num_images:
        raise ConfigError(
            f"limit is {amount} images; between 1 and {num_images} are accepted (--data.limit)"
        )
    return amount


def _draw(labels: np.ndarray, count: int, *, seed: int, kind: int) -> np.ndarray:
    """Draw ``count`` images, every class in proportion (largest remainders; ties at random).

    Returns:
        bool ``(n,)``: whether each image is drawn.
    """
    key = np.array([seed & _WORD, kind], np.uint64)
    generator = np.random.Generator(np.random.Philox(key=key))
    lots = generator.random(len(labels))
    classes, inverse, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    exact = sizes * count / len(labels)
    counts = np.floor(exact).astype(np.int64)
    order = np.lexsort((generator.random(len(classes)), -np.round(exact - counts, 9)))
    counts[order[: count - int(counts.sum())]] += 1
    # Of each class, the images with the lowest lots are drawn.
    sequence = np.lexsort((lots, inverse))
    starts = np.cumsum(sizes) - sizes
    ranks = np.empty(len(labels), np.int64)
    ranks[sequence] = np.arange(len(labels)) - np.repeat(starts, sizes)
    return np.asarray(ranks < counts[inverse])
